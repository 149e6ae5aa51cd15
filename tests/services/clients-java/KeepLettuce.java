// By lettuce, which has one connection for everybody, of its pool one for each transaction.

import io.lettuce.core.ClientOptions;
import io.lettuce.core.RedisClient;
import io.lettuce.core.RedisCommandExecutionException;
import io.lettuce.core.RedisURI;
import io.lettuce.core.api.StatefulRedisConnection;
import io.lettuce.core.api.sync.RedisCommands;
import io.lettuce.core.codec.ByteArrayCodec;
import io.lettuce.core.protocol.ProtocolVersion;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

class KeepLettuce implements Keep.Store {
    private final RedisClient client;
    private final List<StatefulRedisConnection<String, String>> pool = new ArrayList<>();
    private final StatefulRedisConnection<byte[], byte[]> bytes;
    private int turn = 0;

    KeepLettuce() {
        RedisURI place = RedisURI.create("redis://" + System.getenv("STORE") + "/1");
        place.setClientName("keep");
        client = RedisClient.create(place);
        // HELLO 3 is what it says otherwise.
        ClientOptions.Builder options = ClientOptions.builder();
        if (Keep.in("resp2")) options.protocolVersion(ProtocolVersion.RESP2);
        client.setOptions(options.build());
        int size = Keep.in("small-pool") ? 1 : 4;
        for (int number = 0; number < size; number++) pool.add(client.connect());
        bytes = client.connect(ByteArrayCodec.INSTANCE);
    }

    private RedisCommands<String, String> store() {
        return pool.get(turn++ % pool.size()).sync();
    }

    public void keep(String key, String note, boolean counted) {
        RedisCommands<String, String> store = store();
        store.multi();
        store.set(key, note);
        if (counted) store.incrby("count", 1);
        store.exec();
    }

    public void expire(String key) {
        store().expire(key, 60);
    }

    public void push(String name) {
        store().lpush("recent", name);
    }

    public String get(String key) {
        return store().get(key);
    }

    public byte[] picture() {
        return bytes.sync().get("picture".getBytes(StandardCharsets.UTF_8));
    }

    public List<String> recent(long last) {
        return store().lrange("recent", 0, last);
    }

    public List<String> all(List<String> keys) {
        return store().mget(keys.toArray(String[]::new)).stream().map(note -> note.getValueOrElse(null)).toList();
    }

    public String increment(String key) {
        try {
            return Long.toString(store().incrby(key, 1));
        } catch (RedisCommandExecutionException error) {
            return error.getMessage();
        }
    }

    public void close() {
        client.shutdown(0, 0, java.util.concurrent.TimeUnit.SECONDS);
    }
}
