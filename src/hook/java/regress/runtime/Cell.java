package regress.runtime;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.zip.Deflater;

/** Where a thread of the kernel says what it works for while it writes: {@code struct told_cell} in ebpf/bpf/told.h. */
final class Cell {
    private static final int NUMBER = 16;
    private static final long TOLD_FOR_NANOSECONDS = 1_000_000;
    /** Others take about a microsecond each, unless the kernel stops them in between. */
    private static final int TURNS = 100_000;
    /** Never used for anything else. */
    private static final Deflater NOBODY = new Deflater(), NOBODY_VIRTUAL = new Deflater();
    private static final AtomicBoolean IS_VIRTUAL_TELLING = new AtomicBoolean();

    private final ByteBuffer memory = ByteBuffer.allocateDirect(24).order(ByteOrder.nativeOrder());
    private long told = System.nanoTime() - 2 * TOLD_FOR_NANOSECONDS;

    Cell() {
        memory.put("regress context\0".getBytes(StandardCharsets.ISO_8859_1));
    }

    void say(long number) {
        memory.putLong(NUMBER, number);
    }

    /** Tells the recorder of itself, again and again: it may have come meanwhile. */
    void tell(boolean isVirtual) {
        long now = System.nanoTime();
        if (now - told < TOLD_FOR_NANOSECONDS) return;
        // It hears of the native method that this ends in, which gets the address (ebpf/src/code/java.rs).
        if (!isVirtual) {
            NOBODY.setDictionary(memory.clear());
            told = now;
        } else if (isFree()) {
            NOBODY_VIRTUAL.setDictionary(memory.clear());
            told = now;
            IS_VIRTUAL_TELLING.set(false);
        }
    }

    /** Nothing blocks a virtual thread here: it could go on in another thread of the kernel, whose cell this is not. */
    private static boolean isFree() {
        for (int turn = 0; turn < TURNS; turn++) {
            if (IS_VIRTUAL_TELLING.compareAndSet(false, true)) return true;
            Thread.onSpinWait();
        }
        return false;
    }
}
