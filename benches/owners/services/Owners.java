// Each GET /r/ID calls the downstream twice, GET /a/ID and GET /b/ID, as the first argument says; prints its port.
//
// Environment: IDS, whether it passes on the request id of the entry, which is made of its number.
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;

class Owners {
    interface Call { void to(String path) throws Exception; }
    interface Handler { void handle(String first, String second) throws Exception; }

    static String downstream;
    static final boolean passesOn = System.getenv("IDS") != null;
    static final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    static final ExecutorService pool = Executors.newFixedThreadPool(16);
    static final Semaphore limit = new Semaphore(10);

    public static void main(String[] arguments) throws Exception {
        String mode = arguments[0];
        downstream = arguments[1];
        Executor later = CompletableFuture.delayedExecutor(3, TimeUnit.MILLISECONDS, pool);
        Call send = path -> client.send(request(path), BodyHandlers.ofString());
        Handler handler = switch (mode) {
            case "send" -> oneByOne(send);
            case "send-async" -> oneByOne(path -> sendAsync(path).join());
            case "executor" -> oneByOne(path -> pool.submit(() -> { connect(path); return null; }).get());
            case "executor-client" -> oneByOne(path -> pool.submit(() -> { send.to(path); return null; }).get());
            case "pool" -> oneByOne(path -> {
                limit.acquire();
                try { send.to(path); } finally { limit.release(); }
            });
            case "timer" -> (first, second) -> { send.to(first); Thread.sleep(3); send.to(second); };
            case "parallel" -> (first, second) -> CompletableFuture.allOf(sendAsync(first), sendAsync(second)).join();
            case "completable" -> (first, second) ->
                CompletableFuture.supplyAsync(() -> sendAsync(first).join(), pool).thenCompose(done -> sendAsync(second)).join();
            case "async-timer" -> (first, second) ->
                sendAsync(first).thenRunAsync(() -> {}, later).thenCompose(done -> sendAsync(second)).join();
            case "mailbox" -> {
                var mailboxes = new Mailbox[4];
                Arrays.setAll(mailboxes, number -> new Mailbox());
                yield oneByOne(path -> mailboxes[path.hashCode() & 3].submit(send, path).join());
            }
            case "virtual-client" -> oneByOne(send);
            default -> oneByOne(Owners::connect);
        };
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 256);
        server.setExecutor(mode.startsWith("virtual") ? virtualThreads() : Executors.newFixedThreadPool(16));
        server.createContext("/r/", exchange -> {
            String id = exchange.getRequestURI().getPath().substring(3), first = "/a/" + id, second = "/b/" + id;
            try {
                switch (mode) {
                    case "async-handler" ->
                        sendAsync(first).thenCompose(done -> sendAsync(second)).thenRun(() -> answer(exchange, id));
                    case "after" -> {
                        send.to(first);
                        answer(exchange, id);
                        pool.submit(() -> { Thread.sleep(3); send.to(second); return null; });
                    }
                    default -> {
                        handler.handle(first, second);
                        answer(exchange, id);
                    }
                }
            } catch (Exception e) {
                throw new IOException(e);
            }
        });
        server.start();
        System.out.println(server.getAddress().getPort());
    }

    static Handler oneByOne(Call call) {
        return (first, second) -> { call.to(first); call.to(second); };
    }

    static void connect(String path) throws IOException {
        var connection = (HttpURLConnection) URI.create(downstream + path).toURL().openConnection();
        if (passesOn) connection.setRequestProperty("X-Request-Id", id(path));
        try (InputStream body = connection.getInputStream()) { body.readAllBytes(); }
    }

    static CompletableFuture<?> sendAsync(String path) { return client.sendAsync(request(path), BodyHandlers.ofString()); }

    static HttpRequest request(String path) {
        var request = HttpRequest.newBuilder(URI.create(downstream + path));
        return (passesOn ? request.header("X-Request-Id", id(path)) : request).build();
    }

    /** The request id of the entry, which is made of its number. */
    static String id(String path) { return "request-" + path.substring(path.lastIndexOf('/') + 1); }

    static void answer(HttpExchange exchange, String id) {
        try {
            exchange.sendResponseHeaders(200, id.length());
            exchange.getResponseBody().write(id.getBytes());
            exchange.close();
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    /** Takes letters one after the other, in a thread of a pool, which stays for as long as there are any. */
    static class Mailbox {
        private final Queue<Runnable> letters = new ArrayDeque<>();
        private boolean isRead;

        synchronized CompletableFuture<Void> submit(Call call, String path) {
            var done = new CompletableFuture<Void>();
            letters.add(() -> {
                try { call.to(path); } catch (Exception e) { throw new CompletionException(e); } finally { done.complete(null); }
            });
            if (!isRead) pool.execute(() -> { for (Runnable letter; (letter = next()) != null; ) letter.run(); });
            isRead = true;
            return done;
        }

        private synchronized Runnable next() {
            isRead = !letters.isEmpty();
            return letters.poll();
        }
    }

    /** Since Java 21. */
    static Executor virtualThreads() throws Exception {
        try {
            return (Executor) Executors.class.getMethod("newVirtualThreadPerTaskExecutor").invoke(null);
        } catch (NoSuchMethodException e) {
            System.out.println("absent a JDK with virtual threads");
            System.exit(1);
            throw e;
        }
    }
}
