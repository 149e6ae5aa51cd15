package regress.runtime;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import jdk.internal.misc.Unsafe;

/** Memory that is about to be written to a socket. */
final class Bytes {
    private static final Unsafe MEMORY = Unsafe.getUnsafe();
    private static final long HTTP = number("HTTP/1.1");
    private static final int LENGTH = "HTTP/1.1 100".length();

    private Bytes() {}

    /** An interim response: the one that is asked for is still to come. */
    static boolean areInterim(long address, int length) {
        return length >= LENGTH && MEMORY.getLong(address) == HTTP && MEMORY.getByte(address + LENGTH - 3) == '1';
    }

    private static long number(String text) {
        return ByteBuffer.wrap(text.getBytes(StandardCharsets.ISO_8859_1)).order(ByteOrder.nativeOrder()).getLong();
    }
}
