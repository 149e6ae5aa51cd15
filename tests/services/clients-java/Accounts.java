// Accounts kept in PostgreSQL by JDBC, with HikariCP. ACCOUNTS_CHANGE selects a build.

import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.io.StringReader;
import java.math.BigDecimal;
import java.net.URI;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.Arrays;
import java.util.HexFormat;
import org.postgresql.PGConnection;
import org.postgresql.util.PSQLException;

class Accounts implements Clients.Service {
    private static final String ROWS = "SELECT name, balance, changed, tags, picture FROM accounts";

    private final String channelBinding;
    private HikariDataSource store;

    Accounts(String channelBinding) {
        this.channelBinding = channelBinding;
        store = connect();
    }

    private static boolean in(String build) {
        return Clients.in("ACCOUNTS_CHANGE", build);
    }

    private HikariDataSource connect() {
        URI place = URI.create(System.getenv("STORE"));
        String[] user = place.getUserInfo().split(":");
        HikariConfig settings = new HikariConfig();
        settings.setJdbcUrl("jdbc:postgresql://%s:%d%s?%s".formatted(place.getHost(), place.getPort(), place.getPath(), place.getQuery()));
        settings.setUsername(user[0]);
        settings.setPassword(user[1]);
        settings.setMaximumPoolSize(in("small-pool") ? 1 : 3);
        // After how many executions the driver gives a statement a name, and asks for binary values: never, at once, or at the third.
        settings.addDataSourceProperty("prepareThreshold", in("never-prepares") ? 0 : in("prepares") ? 1 : 3);
        settings.addDataSourceProperty("reWriteBatchedInserts", false);
        settings.addDataSourceProperty("channelBinding", channelBinding);
        return new HikariDataSource(settings);
    }

    private static String shown(ResultSet row) throws SQLException {
        byte[] picture = row.getBytes(5);
        return "%s %s %s %s %s".formatted(row.getString(1), row.getBigDecimal(2), row.getTimestamp(3).toInstant(),
            Arrays.toString((Object[]) row.getArray(4).getArray()), picture == null ? null : HexFormat.of().formatHex(picture));
    }

    public Clients.Answer put(String name, String body) throws SQLException {
        BigDecimal amount = new BigDecimal(body).add(in("other-value") ? BigDecimal.ONE : BigDecimal.ZERO);
        try (Connection work = store.getConnection()) {
            work.setAutoCommit(false);
            try {
                int account = insert(work, name, amount);
                if (!in("dropped-query")) {
                    boolean turned = in("other-sql");
                    String places = turned ? "(amount, account)" : "(account, amount)";
                    try (PreparedStatement entry = work.prepareStatement("INSERT INTO entries " + places + " VALUES (?, ?)")) {
                        entry.setInt(turned ? 2 : 1, account);
                        entry.setBigDecimal(turned ? 1 : 2, amount);
                        entry.executeUpdate();
                    }
                }
                work.commit();
                if (in("extra-query")) {
                    work.setAutoCommit(true);
                    try (PreparedStatement delete = work.prepareStatement("DELETE FROM entries WHERE amount < ?")) {
                        delete.setInt(1, 0);
                        delete.executeUpdate();
                    }
                }
                return new Clients.Answer(201, "account " + account);
            } catch (PSQLException error) {
                work.rollback();
                var told = error.getServerErrorMessage();
                return new Clients.Answer(told == null ? 500 : 409, told == null ? error.toString() : told.getDetail() + " " + told.getConstraint());
            }
        }
    }

    private static int insert(Connection work, String name, BigDecimal amount) throws SQLException {
        String sql = "INSERT INTO accounts (name, balance, tags) VALUES (?, ?, ?) RETURNING id";
        try (PreparedStatement insert = work.prepareStatement(sql)) {
            insert.setString(1, name);
            insert.setBigDecimal(2, amount);
            insert.setArray(3, work.createArrayOf("text", new String[] {name, "new"}));
            try (ResultSet made = insert.executeQuery()) {
                made.next();
                return made.getInt(1);
            }
        }
    }

    public Clients.Answer find(String name) throws Exception {
        switch (name) {
            case "all":
                return every();
            case "load":
                return load();
            case "wrong":
                return put("tea", "7");
            default:
                return get(name);
        }
    }

    private Clients.Answer get(String name) throws SQLException {
        if (in("reconnects")) {
            store.close();
            store = connect();
        }
        try (Connection connection = store.getConnection();
                PreparedStatement ask = connection.prepareStatement(ROWS + " WHERE name = ?")) {
            ask.setString(1, name);
            try (ResultSet row = ask.executeQuery()) {
                return row.next() ? new Clients.Answer(200, shown(row)) : new Clients.Answer(404, "no account " + name);
            }
        }
    }

    // Taken in pieces of one row.
    private Clients.Answer every() throws SQLException {
        StringBuilder told = new StringBuilder();
        try (Connection connection = store.getConnection()) {
            connection.setAutoCommit(false);
            try (PreparedStatement ask = connection.prepareStatement(ROWS + " ORDER BY name")) {
                ask.setFetchSize(1);
                try (ResultSet row = ask.executeQuery()) {
                    while (row.next()) told.append(shown(row)).append('\n');
                }
            }
            connection.commit();
        }
        return new Clients.Answer(200, told.toString());
    }

    // A batch, and a copy.
    private Clients.Answer load() throws Exception {
        try (Connection connection = store.getConnection()) {
            try (PreparedStatement batch = connection.prepareStatement("INSERT INTO entries (account, amount) VALUES (?, ?)")) {
                for (int number = 0; number < 3; number++) {
                    batch.setInt(1, 1);
                    batch.setBigDecimal(2, new BigDecimal(number));
                    batch.addBatch();
                }
                batch.executeBatch();
            }
            String lines = in("other-data") ? "1\t8\n1\t9\n" : "1\t7\n1\t9\n";
            long copied = connection.unwrap(PGConnection.class).getCopyAPI()
                .copyIn("COPY entries (account, amount) FROM STDIN", new StringReader(lines));
            return new Clients.Answer(200, "copied " + copied);
        }
    }
}
