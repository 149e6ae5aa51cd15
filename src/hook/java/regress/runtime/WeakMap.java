package regress.runtime;

import java.lang.ref.Reference;
import java.lang.ref.ReferenceQueue;
import java.lang.ref.WeakReference;
import java.util.concurrent.ConcurrentHashMap;

/** What is known of objects for as long as they are, by identity. */
final class WeakMap<K, V> {
    private final ConcurrentHashMap<Object, V> values = new ConcurrentHashMap<>();
    private final ReferenceQueue<K> gone = new ReferenceQueue<>();

    V get(K object) {
        return values.get(new Asked(object));
    }

    /** The value that is there, or else this one, which then is. */
    V putIfAbsent(K object, V value) {
        for (Reference<? extends K> key; (key = gone.poll()) != null; ) values.remove(key);
        V before = values.putIfAbsent(new Key<>(object, gone), value);
        return before == null ? value : before;
    }

    void remove(K object) {
        values.remove(new Asked(object));
    }

    private static final class Key<K> extends WeakReference<K> {
        private final int hash;

        Key(K object, ReferenceQueue<K> gone) {
            super(object, gone);
            hash = System.identityHashCode(object);
        }

        @Override
        public int hashCode() {
            return hash;
        }

        @Override
        public boolean equals(Object other) {
            if (this == other) return true;
            K object = get();
            return object != null && other instanceof Key<?> key && key.get() == object;
        }
    }

    /** Finds a key without being one. */
    private static final class Asked {
        private final Object object;

        Asked(Object object) {
            this.object = object;
        }

        @Override
        public int hashCode() {
            return System.identityHashCode(object);
        }

        @Override
        public boolean equals(Object other) {
            return other instanceof Key<?> key && key.get() == object;
        }
    }
}
