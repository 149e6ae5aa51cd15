// Orders kept in MySQL by JDBC, by the driver that the address names, with HikariCP. ORDERS_CHANGE selects a build.

import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;

class Orders implements Clients.Service {
    private final String address;
    private HikariDataSource store;

    Orders(String address) {
        this.address = address;
        store = connect();
    }

    private static boolean in(String build) {
        return Clients.in("ORDERS_CHANGE", build);
    }

    private HikariDataSource connect() {
        HikariConfig settings = new HikariConfig();
        settings.setJdbcUrl(address.formatted(System.getenv("STORE")));
        settings.setUsername("app");
        settings.setPassword("secret");
        settings.setMaximumPoolSize(in("small-pool") ? 1 : 4);
        return new HikariDataSource(settings);
    }

    public Clients.Answer put(String name, String body) throws SQLException {
        int quantity = Integer.parseInt(body);
        try (Connection work = store.getConnection()) {
            work.setAutoCommit(false);
            int order;
            String insert = "INSERT INTO orders (name, quantity) VALUES (?, ?)";
            try (PreparedStatement made = work.prepareStatement(insert, Statement.RETURN_GENERATED_KEYS)) {
                made.setString(1, name);
                made.setInt(2, in("other-parameter") ? quantity + 1 : quantity);
                made.executeUpdate();
                try (ResultSet keys = made.getGeneratedKeys()) {
                    keys.next();
                    order = keys.getInt(1);
                }
            }
            if (!in("dropped-query")) {
                try (PreparedStatement taken = work.prepareStatement("UPDATE stock SET left_over = left_over - ? WHERE name = ?")) {
                    taken.setInt(1, quantity);
                    taken.setString(2, name);
                    taken.executeUpdate();
                }
            }
            work.commit();
            work.setAutoCommit(true);
            try (Statement ask = work.createStatement(); ResultSet row = ask.executeQuery("SELECT COUNT(*), SUM(quantity) FROM orders")) {
                row.next();
                return new Clients.Answer(201, "order %d of %d, %d".formatted(order, row.getInt(1), row.getInt(2)));
            }
        }
    }

    public Clients.Answer find(String name) throws SQLException {
        if (name.equals("wrong")) return wrong();
        if (in("reconnects")) {
            store.close();
            store = connect();
        }
        String sql = "SELECT number, name, quantity, price, ordered FROM orders WHERE name = ? ORDER BY " + (in("other-sql") ? "number DESC" : "number");
        StringBuilder told = new StringBuilder();
        try (Connection connection = store.getConnection(); PreparedStatement ask = connection.prepareStatement(sql)) {
            ask.setString(1, name);
            try (ResultSet row = ask.executeQuery()) {
                while (row.next()) {
                    told.append("%d %s %d %s %s\n".formatted(row.getInt(1), row.getString(2), row.getInt(3), row.getBigDecimal(4), row.getTimestamp(5)));
                }
            }
        }
        return new Clients.Answer(told.isEmpty() ? 404 : 200, told.toString());
    }

    private Clients.Answer wrong() throws SQLException {
        try (Connection connection = store.getConnection(); Statement ask = connection.createStatement()) {
            ask.executeQuery("SELECT nothing FROM nowhere");
            return new Clients.Answer(200, "");
        } catch (SQLException error) {
            return new Clients.Answer(409, error.getErrorCode() + " " + error.getSQLState());
        }
    }
}
