// Each GET /r/ID asks a database twice, with /a/ID and /b/ID, by JDBC and a pool of ten connections; prints its port.
//
// Arguments: postgres or mysql, with -transactions as one transaction each; http:// and where the database is.
import com.sun.net.httpserver.HttpServer;
import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.concurrent.Executors;

class OwnersSql {
    static final String POSTGRES = "SELECT ?::text FROM pg_sleep(0.0005 + random() * 0.009)";
    static final String MYSQL = "SELECT ? FROM (SELECT SLEEP(0.0005 + RAND() * 0.009)) AS slept";

    static HikariDataSource pool;
    static String query;
    static boolean asTransaction;

    public static void main(String[] arguments) throws Exception {
        String address = arguments[1].substring("http://".length());
        boolean isPostgres = arguments[0].startsWith("postgres");
        asTransaction = arguments[0].endsWith("transactions");
        query = isPostgres ? POSTGRES : MYSQL;
        var settings = new HikariConfig();
        settings.setJdbcUrl(isPostgres
            ? "jdbc:postgresql://" + address + "/postgres?user=postgres&sslmode=disable"
            : "jdbc:mariadb://" + address + "/?user=root&sslMode=disable");
        settings.setMaximumPoolSize(10);
        pool = new HikariDataSource(settings);
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 256);
        server.setExecutor(Executors.newFixedThreadPool(16));
        server.createContext("/r/", exchange -> {
            String id = exchange.getRequestURI().getPath().substring(3);
            try {
                ask("/a/" + id);
                ask("/b/" + id);
            } catch (SQLException e) {
                throw new IOException(e);
            }
            exchange.sendResponseHeaders(200, id.length());
            exchange.getResponseBody().write(id.getBytes());
            exchange.close();
        });
        server.start();
        System.out.println(server.getAddress().getPort());
    }

    static void ask(String path) throws SQLException {
        try (Connection connection = pool.getConnection()) {
            if (asTransaction) execute(connection, "BEGIN /* " + path + " */");
            try (var statement = connection.prepareStatement(query)) {
                statement.setString(1, path);
                try (ResultSet answer = statement.executeQuery()) {
                    if (!answer.next() || !answer.getString(1).equals(path)) throw new SQLException(path + " has another answer");
                }
            }
            if (asTransaction) execute(connection, "COMMIT /* " + path + " */");
        }
    }

    static void execute(Connection connection, String sql) throws SQLException {
        try (var statement = connection.createStatement()) { statement.execute(sql); }
    }
}
