// Services that keep things in a store, by the clients that Java programs commonly use: keep-jedis, keep-lettuce, accounts (JDBC), accounts-unbound (its
// password is not bound to the certificate of the server), orders-mariadb, orders-mysql (JDBC). The argument says which; each has the requests and the builds of its namesakes in Python.

import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Executors;

class Clients {
    private static final boolean TLS = System.getenv("STORE_TLS") != null;

    public static void main(String[] arguments) throws Exception {
        switch (arguments[0]) {
            case "keep-jedis" -> serve("keep listens", new Keep(KeepJedis::new));
            case "keep-lettuce" -> serve("keep listens", new Keep(KeepLettuce::new));
            case "accounts" -> serve("accounts listens", new Accounts("prefer"));
            case "accounts-unbound" -> serve("accounts listens", new Accounts("disable"));
            case "orders-mariadb" -> serve("orders listen", new Orders("jdbc:mariadb://%s/shop?useServerPrepStmts=true&allowPublicKeyRetrieval=true&sslMode=" + (TLS ? "trust" : "disable")));
            case "orders-mysql" -> serve("orders listen", new Orders("jdbc:mysql://%s/shop?useServerPrepStmts=true&allowPublicKeyRetrieval=true&sslMode=" + (TLS ? "REQUIRED" : "DISABLED")));
            default -> throw new IllegalArgumentException(arguments[0]);
        }
    }

    record Answer(int status, String said) {}

    interface Service {
        Answer find(String name) throws Exception;

        Answer put(String name, String body) throws Exception;
    }

    static void serve(String listens, Service service) throws Exception {
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(System.getenv("PORT"))), 0);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/", exchange -> {
            String name = exchange.getRequestURI().getPath().substring(1);
            Answer answer;
            try {
                byte[] body = exchange.getRequestBody().readAllBytes();
                answer = exchange.getRequestMethod().equals("POST")
                    ? service.put(name, new String(body, StandardCharsets.UTF_8)) : service.find(name);
            } catch (Exception error) {
                answer = new Answer(500, error.toString());
            }
            byte[] said = answer.said.getBytes(StandardCharsets.UTF_8);
            exchange.sendResponseHeaders(answer.status, said.length);
            exchange.getResponseBody().write(said);
            exchange.close();
        });
        server.start();
        System.err.println(listens);
    }

    static boolean in(String variable, String build) {
        return build.equals(System.getenv(variable));
    }
}
