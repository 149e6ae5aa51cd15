# Each GET /r/ID calls the downstream twice, GET /a/ID and GET /b/ID, as the first argument says; prints its port.
#
# Environment: IDS, whether it passes on the request id of the entry, which is made of its number.
require "net/http"
begin
  require "puma"
  require "puma/server"
rescue LoadError
  puts "absent puma"
  exit 1
end

MODE, DOWNSTREAM = ARGV.first, URI(ARGV.last)
JOBS = Queue.new

def call(path)
  connection = Thread.current[:connection] ||= Net::HTTP.start(DOWNSTREAM.host, DOWNSTREAM.port)
  connection.keep_alive_timeout = 60
  connection.get(path, ENV["IDS"] ? { "X-Request-Id" => "request-#{path.split("/").last}" } : {})
end

def hand_over(path)
  done = Queue.new
  JOBS << [path, done]
  done.pop
end

16.times do
  Thread.new do
    loop do
      path, done = JOBS.pop
      sleep 0.003 if MODE == "after"
      call(path)
      done << nil
    end
  end
end

app = lambda do |env|
  id = env["PATH_INFO"].delete_prefix("/r/")
  first, second = "/a/#{id}", "/b/#{id}"
  case MODE
  when "executor"
    hand_over(first)
    hand_over(second)
  when "after"
    call(first)
    JOBS << [second, Queue.new]
  else
    call(first)
    sleep 0.003 if MODE == "timer"
    call(second)
  end
  [200, { "Content-Length" => id.length.to_s }, [id]]
end

server = Puma::Server.new(app, Puma::Events.null, min_threads: 16, max_threads: 16)
server.add_tcp_listener("127.0.0.1", 0)
puts server.connected_ports.first
$stdout.flush
server.run.join
