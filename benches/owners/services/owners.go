// Each GET /r/ID calls the downstream twice, GET /a/ID and GET /b/ID, as its argument says, and prints its port.
//
// Environment: IDS, whether it passes on the request id of the entry, which is made of its number.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// Whoever has a connection writes and reads on it, as database/sql does.
func by_redis(address string) func(string) {
	pool := make(chan net.Conn, 10)
	for range cap(pool) {
		pool <- nil
	}
	return func(path string) {
		connection := <-pool
		if connection == nil {
			connection, _ = net.Dial("tcp", address)
		}
		fmt.Fprintf(connection, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", len(path), path)
		buffer := make([]byte, 4096)
		connection.Read(buffer)
		pool <- connection
	}
}

// Who asks a store of that address, by mode; owners_sql.go adds those that take more than the standard library.
var stores = map[string]func(string) func(string){"redis": by_redis}

func main() {
	mode, downstream := os.Args[1], os.Args[2]
	transport := &http.Transport{MaxIdleConnsPerHost: 1000}
	if mode == "pool" {
		transport.MaxConnsPerHost = 10
	}
	if rest, found := strings.CutPrefix(mode, "http2-"); found {
		mode = rest
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	client := &http.Client{Transport: transport}
	call_within := func(ctx context.Context, path string) {
		request, _ := http.NewRequestWithContext(ctx, "GET", downstream+path, nil)
		if os.Getenv("IDS") != "" {
			request.Header.Set("X-Request-Id", "request-"+path[strings.LastIndex(path, "/")+1:])
		}
		if response, err := client.Do(request); err == nil {
			io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
	}
	call := func(path string) { call_within(context.Background(), path) }
	if store, found := stores[mode]; found {
		call = store(strings.TrimPrefix(downstream, "http://"))
	}
	// Workers that the first requests start and all requests use.
	jobs, workers := make(chan func()), make(chan struct{}, 16)
	submit := func(job func()) {
		select {
		case jobs <- job:
			return
		default:
		}
		select {
		case workers <- struct{}{}:
			go func() {
				for job := range jobs {
					job()
				}
			}()
		default:
		}
		jobs <- job
	}
	http.HandleFunc("/r/", func(w http.ResponseWriter, r *http.Request) {
		id := strings.TrimPrefix(r.URL.Path, "/r/")
		switch mode {
		case "parallel":
			var both sync.WaitGroup
			for _, path := range []string{"/a/", "/b/"} {
				both.Add(1)
				go func() { defer both.Done(); call(path + id) }()
			}
			both.Wait()
		case "workers":
			for _, path := range []string{"/a/", "/b/"} {
				done := make(chan struct{})
				submit(func() { call(path + id); close(done) })
				<-done
			}
		case "timer":
			call("/a/" + id)
			time.Sleep(3 * time.Millisecond)
			call("/b/" + id)
		case "cancel":
			// About as often in time as not.
			soon, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
			call_within(soon, "/a/"+id)
			cancel()
			call("/b/" + id)
		case "after":
			call("/a/" + id)
			go func() { time.Sleep(3 * time.Millisecond); call("/b/" + id) }()
		default:
			call("/a/" + id)
			call("/b/" + id)
		}
		io.WriteString(w, id)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	panic(http.Serve(listener, nil))
}
