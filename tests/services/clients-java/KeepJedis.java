// By jedis, with a pool of connections.

import java.nio.charset.StandardCharsets;
import java.util.List;
import redis.clients.jedis.AbstractTransaction;
import redis.clients.jedis.ConnectionPoolConfig;
import redis.clients.jedis.DefaultJedisClientConfig;
import redis.clients.jedis.HostAndPort;
import redis.clients.jedis.JedisPooled;
import redis.clients.jedis.RedisProtocol;
import redis.clients.jedis.exceptions.JedisDataException;

class KeepJedis implements Keep.Store {
    private final JedisPooled store;

    KeepJedis() {
        ConnectionPoolConfig pool = new ConnectionPoolConfig();
        int size = Keep.in("small-pool") ? 1 : 8;
        pool.setMaxTotal(size);
        pool.setMaxIdle(size);
        pool.setMinIdle(Math.min(size, 2));
        pool.setTestOnBorrow(true);
        RedisProtocol protocol = Keep.in("resp3") ? RedisProtocol.RESP3 : RedisProtocol.RESP2;
        store = new JedisPooled(pool, HostAndPort.from(System.getenv("STORE")),
            DefaultJedisClientConfig.builder().database(1).clientName("keep").protocol(protocol).build());
    }

    public void keep(String key, String note, boolean counted) {
        try (AbstractTransaction keeps = store.multi()) {
            keeps.set(key, note);
            if (counted) keeps.incrBy("count", 1);
            keeps.exec();
        }
    }

    public void expire(String key) {
        store.expire(key, 60);
    }

    public void push(String name) {
        store.lpush("recent", name);
    }

    public String get(String key) {
        return store.get(key);
    }

    public byte[] picture() {
        return store.get("picture".getBytes(StandardCharsets.UTF_8));
    }

    public List<String> recent(long last) {
        return store.lrange("recent", 0, last);
    }

    public List<String> all(List<String> keys) {
        return store.mget(keys.toArray(String[]::new));
    }

    public String increment(String key) {
        try {
            return Long.toString(store.incrBy(key, 1));
        } catch (JedisDataException error) {
            return error.getMessage();
        }
    }

    public void close() {
        store.close();
    }
}
