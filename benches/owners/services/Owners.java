// Each GET /r/ID calls the downstream twice, GET /a/ID and GET /b/ID, as the first argument says; prints its port.
import com.sun.net.httpserver.HttpServer;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.concurrent.Executors;

class Owners {
    interface Call { void to(String path) throws Exception; }

    public static void main(String[] arguments) throws Exception {
        String mode = arguments[0], downstream = arguments[1];
        HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        Call call = switch (mode) {
            case "send" -> path -> client.send(request(downstream + path), BodyHandlers.ofString());
            case "send-async" -> path -> client.sendAsync(request(downstream + path), BodyHandlers.ofString()).join();
            default -> path -> {
                var connection = (HttpURLConnection) URI.create(downstream + path).toURL().openConnection();
                try (InputStream body = connection.getInputStream()) { body.readAllBytes(); }
            };
        };
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 256);
        server.setExecutor(Executors.newFixedThreadPool(16));
        server.createContext("/r/", exchange -> {
            String id = exchange.getRequestURI().getPath().substring(3);
            try {
                call.to("/a/" + id);
                call.to("/b/" + id);
            } catch (Exception e) {
                throw new java.io.IOException(e);
            }
            exchange.sendResponseHeaders(200, id.length());
            exchange.getResponseBody().write(id.getBytes());
            exchange.close();
        });
        server.start();
        System.out.println(server.getAddress().getPort());
    }

    static HttpRequest request(String url) { return HttpRequest.newBuilder(URI.create(url)).build(); }
}
