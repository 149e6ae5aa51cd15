package regress.runtime;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.zip.Deflater;

/**
 * Where a thread of the kernel says what it works for while it writes: {@code struct told_cell} in ebpf/bpf/told.h. Nothing
 * here blocks: a virtual thread could go on in another thread of the kernel.
 */
final class Cell {
    private static final int NUMBER = 16;
    private static final long TOLD_FOR_NANOSECONDS = 1_000_000;
    /** Another takes about a microsecond, unless the kernel stops it in between; who was never heard waits for that, too. */
    private static final int TURNS = 1000, TURNS_AT_FIRST = 1_000_000;
    /** Never used for anything else. */
    private static final Deflater NOBODY = new Deflater();
    private static final AtomicBoolean IS_TELLING = new AtomicBoolean();

    private final ByteBuffer memory = ByteBuffer.allocateDirect(24).order(ByteOrder.nativeOrder());
    private long told = System.nanoTime() - 2 * TOLD_FOR_NANOSECONDS;
    private int turns = TURNS_AT_FIRST;

    Cell() {
        memory.put("regress context\0".getBytes(StandardCharsets.ISO_8859_1));
    }

    void say(long number) {
        memory.putLong(NUMBER, number);
    }

    /** Tells the recorder of itself, again and again: it may have come meanwhile. */
    void tell() {
        long now = System.nanoTime();
        if (now - told < TOLD_FOR_NANOSECONDS) return;
        for (int turn = 0; !IS_TELLING.compareAndSet(false, true); turn++) {
            // Next time.
            if (turn == turns) return;
            Thread.onSpinWait();
        }
        told = now;
        turns = TURNS;
        // It hears of the native method that this ends in, which gets the address (ebpf/src/code/java.rs).
        NOBODY.setDictionary(memory.clear());
        IS_TELLING.set(false);
    }
}
