// Notes kept in Redis. KEEP_CHANGE selects a build.

import java.util.HexFormat;
import java.util.List;
import java.util.function.Supplier;

class Keep implements Clients.Service {
    // What a client does for it.
    interface Store extends AutoCloseable {
        void keep(String key, String note, boolean counted);

        void expire(String key);

        void push(String name);

        String get(String key);

        byte[] picture();

        List<String> recent(long last);

        List<String> all(List<String> keys);

        // What the server has against it.
        String increment(String key);
    }

    private final Supplier<Store> connect;
    private Store store;

    Keep(Supplier<Store> connect) {
        this.connect = connect;
        store = connect.get();
    }

    static boolean in(String build) {
        return Clients.in("KEEP_CHANGE", build);
    }

    public Clients.Answer put(String name, String body) {
        String key = (in("other-key") ? "notes:" : "note:") + name;
        String text = body.replace("\\", "\\\\").replace("\"", "\\\"").replace("\r", "\\r").replace("\n", "\\n");
        int length = body.length() + (in("other-value") ? 1 : 0);
        store.keep(key, "{\"text\": \"%s\", \"length\": %d}".formatted(text, length), !in("dropped-command"));
        if (in("extra-command")) store.expire(key);
        if (!in("dropped-call")) store.push(name);
        return new Clients.Answer(201, name + " " + store.get("count"));
    }

    public Clients.Answer find(String name) throws Exception {
        switch (name) {
            case "all":
                List<String> keys = store.recent(in("other-range") ? 1 : -1).stream().map(recent -> "note:" + recent).toList();
                return new Clients.Answer(200, store.all(keys) + HexFormat.of().formatHex(store.picture()));
            case "wrong":
                return new Clients.Answer(409, store.increment("recent"));
            default:
                if (in("reconnects")) {
                    store.close();
                    store = connect.get();
                }
                String note = store.get("note:" + name);
                return note == null ? new Clients.Answer(404, "no note " + name) : new Clients.Answer(200, note);
        }
    }
}
