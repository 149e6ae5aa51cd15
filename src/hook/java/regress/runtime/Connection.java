package regress.runtime;

import java.io.FileDescriptor;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Set;
import java.util.concurrent.atomic.AtomicLong;
import sun.nio.ch.Net;

/** A socket. */
final class Connection {
    private static final WeakMap<FileDescriptor, Connection> ALL = new WeakMap<>();
    private static final AtomicLong MESSAGES = new AtomicLong();
    private static final Path[] TABLES = {Path.of("/proc/self/net/tcp"), Path.of("/proc/self/net/tcp6")};
    private static volatile Set<Integer> listening;

    /** The process was asked to accept it. */
    final boolean isServer;
    /** The message that was read last by a server, or for which a client wrote last. */
    private volatile long message;
    private volatile boolean isAnswered;

    private Connection(boolean isServer) {
        this.isServer = isServer;
    }

    static Connection of(FileDescriptor socket) {
        Connection known = ALL.get(socket);
        return known != null ? known : ALL.putIfAbsent(socket, new Connection(isOfListener(socket)));
    }

    /** Whose bytes these are that were read: of a new message if there was an answer meanwhile. */
    long reads() {
        if (isServer && (isAnswered || message == 0)) {
            isAnswered = false;
            message = MESSAGES.incrementAndGet();
        }
        return message;
    }

    void writes(long number) {
        if (isServer) isAnswered = true;
        else message = number;
    }

    /** There may be another port that somebody listens at. */
    static void listens() {
        listening = null;
    }

    private static boolean isOfListener(FileDescriptor socket) {
        try {
            int port = Net.localAddress(socket).getPort();
            Set<Integer> ports = listening;
            if (ports == null) listening = ports = ports();
            return ports.contains(port);
        } catch (Exception unknown) {
            // Of another family, or closed.
            return false;
        }
    }

    /** Those that are listened at, of the whole network namespace. */
    private static Set<Integer> ports() throws java.io.IOException {
        var ports = new HashSet<Integer>();
        for (Path table : TABLES) {
            if (!Files.isReadable(table)) continue;
            for (String line : Files.readAllLines(table)) {
                // sl local_address rem_address st; 0A is LISTEN.
                String[] fields = line.strip().split("\\s+");
                if (!fields[3].equals("0A")) continue;
                ports.add(Integer.parseInt(fields[1].substring(fields[1].indexOf(':') + 1), 16));
            }
        }
        return ports;
    }
}
