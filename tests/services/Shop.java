// Enough of the shop for the load of `capture.rs`: requests and the calls that they cause are in threads of different pools.
//
// Environment: PORT, INVENTORY_URL, PRICING_URL.

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;

class Shop {
    static final String INVENTORY = System.getenv("INVENTORY_URL"), PRICING = System.getenv("PRICING_URL");
    static final HttpClient CLIENT = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    static final ExecutorService POOL = Executors.newFixedThreadPool(4);
    static final Executor LATER = CompletableFuture.delayedExecutor(2, TimeUnit.MILLISECONDS, POOL);

    static HttpRequest.Builder request(String url, String order) {
        var request = HttpRequest.newBuilder(URI.create(url));
        return order == null ? request : request.header("X-Order", order);
    }

    static CompletableFuture<String> get(String url, String order) {
        return CLIENT.sendAsync(request(url, order).build(), BodyHandlers.ofString()).thenApply(answer -> answer.body());
    }

    static CompletableFuture<String> post(String url, String order, String body) {
        var request = request(url, order).POST(BodyPublishers.ofString(body)).build();
        return CLIENT.sendAsync(request, BodyHandlers.ofString()).thenApply(answer -> answer.body());
    }

    static CompletableFuture<String> quote(String order, String sku) {
        return post(PRICING + "/quote", order, "{\"order\":\"" + order + "\",\"sku\":\"" + sku + "\",\"quantity\":2}");
    }

    /** One after the other, in whatever thread has the answer, with a pause between. */
    static CompletableFuture<String> order(String order) {
        return get(INVENTORY + "/stock/sku-" + order, order).thenApplyAsync(stock -> field(stock, "sku"), LATER)
                .thenCompose(sku -> quote(order, sku));
    }

    /** One after the other, in a thread of a pool, which the handler waits for. */
    static String ordered(String asked) throws Exception {
        String order = field(asked, "id"), sku = field(asked, "sku");
        return POOL.submit(() -> {
            String quoted = quote(order, sku).get();
            post(INVENTORY + "/reserve", order, asked).get();
            return quoted;
        }).get();
    }

    static String field(String json, String name) {
        var found = Pattern.compile("\"" + name + "\":\\s*\"([^\"]*)\"").matcher(json);
        if (!found.find()) throw new IllegalArgumentException(json + " has no " + name);
        return found.group(1);
    }

    static void answer(HttpExchange exchange, int status, String text) {
        try (exchange) {
            exchange.sendResponseHeaders(status, text.length());
            exchange.getResponseBody().write(text.getBytes());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static void serve(HttpExchange exchange) throws Exception {
        String path = exchange.getRequestURI().getPath(), body = new String(exchange.getRequestBody().readAllBytes());
        if (path.startsWith("/orders/")) {
            // The handler is long gone when this is answered.
            order(path.substring("/orders/".length())).thenAccept(text -> answer(exchange, 200, text));
        } else {
            switch (path) {
                case "/health" -> answer(exchange, 200, "ok\n");
                case "/report" -> answer(exchange, 200, get(INVENTORY + "/levels", null).get());
                case "/orders" -> answer(exchange, 201, ordered(body));
                default -> answer(exchange, 404, "no such path\n");
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        int port = Integer.parseInt(System.getenv("PORT"));
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 128);
        server.setExecutor(Executors.newFixedThreadPool(16));
        server.createContext("/", exchange -> {
            try {
                serve(exchange);
            } catch (Exception e) {
                e.printStackTrace();
                answer(exchange, 500, "failed\n");
            }
        });
        server.start();
        System.err.println("shop listens");
    }
}
