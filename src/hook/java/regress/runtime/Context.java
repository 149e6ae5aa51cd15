package regress.runtime;

import java.io.FileDescriptor;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.util.Arrays;

/**
 * For which message a thread works. It is the one that a task has read last from who asks the server; tasks that it hands over
 * go on with it. What is added to the classes of {@code regress.hook.Points} calls this.
 */
public final class Context {
    /** Of no message. */
    private static final long NONE = 0;
    /** A task that waits for many sockets at once: what it reads says nothing of what it does next. */
    private static final long OF_MANY = -1;

    private static final WeakMap<Object, Owner> TASKS = new WeakMap<>();
    private static final WeakMap<Thread, Cell> CELLS = new WeakMap<>();
    private static final ThreadLocal<Context> CURRENT = ThreadLocal.withInitial(Context::new);
    private static final Class<?> VIRTUAL_THREAD = virtualThread();
    private static final MethodHandle CARRIER = currentCarrier();

    /** Whether a class is a part of java.net.http, which has many small tasks; what it does is known by its requests. */
    private static final ClassValue<Boolean> IS_OF_CLIENT = new ClassValue<>() {
        @Override
        protected Boolean computeValue(Class<?> type) {
            return type.getName().startsWith("jdk.internal.net.http.");
        }
    };

    /** For which message a task is; 0 if for several. */
    private static final class Owner {
        volatile long number;
        /** Whoever hands it over. */
        final boolean isSettled;

        Owner(long number, boolean isSettled) {
            this.number = number;
            this.isSettled = isSettled;
        }
    }

    private long number;
    /** Those of the tasks around. */
    private long[] outer = new long[8];
    private int depth;
    private final boolean isVirtual = isVirtual(Thread.currentThread());
    /** Of the thread that it writes in at the moment. */
    private Cell cell;

    private Context() {
        if (isVirtual) number = owner(Thread.currentThread());
    }

    /** Loads all that is needed, where nothing waits for it. */
    public static void prepare() {
        Context here = CURRENT.get();
        given(here);
        begins(here);
        ends();
        here.cell().tell(false);
        here.cell().tell(true);
        Connection.of(new FileDescriptor()).reads();
    }

    /** A task is handed over. */
    public static void given(Object task) {
        // That it may not be null, the pool says.
        if (task == null || IS_OF_CLIENT.get(task.getClass())) return;
        long number = Math.max(CURRENT.get().number, NONE);
        Owner owner = TASKS.get(task);
        if (owner == null && number != NONE) owner = TASKS.putIfAbsent(task, new Owner(number, false));
        // What is handed over again and again, as the work on a queue, is for many; so may be what waited in a queue until
        // somebody else handed it over.
        if (owner != null && owner.number != number && !owner.isSettled) owner.number = NONE;
    }

    /** A task is made that somebody may hand over. */
    public static void made(Object task) {
        remember(task, false);
    }

    /** A task is made that is for whoever makes it. */
    public static void settled(Object task) {
        remember(task, true);
    }

    /** What waits for a future with this function. */
    public static void settled(Object completion, Object function) {
        if (function != null && !IS_OF_CLIENT.get(function.getClass())) remember(completion, true);
    }

    private static void remember(Object task, boolean isSettled) {
        long number = CURRENT.get().number;
        if (number > NONE) TASKS.putIfAbsent(task, new Owner(number, isSettled));
    }

    /** A task is used again, for something new. */
    public static void renewed(Object task) {
        TASKS.remove(task);
    }

    private static long owner(Object task) {
        Owner owner = TASKS.get(task);
        return owner == null ? NONE : owner.number;
    }

    /** A thread of a pool begins with a task. */
    public static void begins(Object task) {
        Context context = CURRENT.get();
        context.depth = 0;
        context.enter(owner(task));
    }

    /** It is done with it. */
    public static void ends() {
        Context context = CURRENT.get();
        context.depth = 0;
        context.number = NONE;
    }

    /** A task begins, maybe within another. */
    public static void taken(Object task) {
        CURRENT.get().enter(owner(task));
    }

    /** A part of a task is made; of one that is not made itself yet, where it is not known. */
    public static void continued(Object task) {
        Context context = CURRENT.get();
        Owner owner = TASKS.get(task);
        context.enter(owner == null ? context.number : owner.number);
    }

    /** What waits for a future goes on, if it does not do so already; {@code mode > 0} if it was handed over for that. */
    public static void resumes(Object completion, int mode, Object function) {
        Context context = CURRENT.get();
        boolean isOther = mode <= 0 && function != null && !IS_OF_CLIENT.get(function.getClass());
        context.enter(isOther ? owner(completion) : context.number);
    }

    /** Back to the task around. */
    public static void done() {
        Context context = CURRENT.get();
        context.number = context.depth > 0 ? context.outer[--context.depth] : NONE;
    }

    private void enter(long number) {
        if (depth == outer.length) outer = Arrays.copyOf(outer, 2 * depth);
        outer[depth++] = this.number;
        this.number = number;
    }

    /** Waits for many sockets. */
    public static void selects() {
        CURRENT.get().number = OF_MANY;
    }

    public static void listens() {
        Connection.listens();
    }

    /** So many bytes were read. */
    public static void received(long count, FileDescriptor socket) {
        Context context = CURRENT.get();
        // A thread without a task may be that of any pool, which goes on with the work of others.
        if (count <= 0 || context.number == OF_MANY || (context.depth == 0 && !context.isVirtual)) return;
        Connection connection = Connection.of(socket);
        long message = connection.reads();
        if (connection.isServer) context.number = message;
        // Whoever it is that goes on with what another has asked for.
        else if (message != context.number) context.number = NONE;
    }

    /** Is about to write. */
    public static void sends(FileDescriptor socket, long address, int length) {
        Context context = CURRENT.get();
        long number = Math.max(context.number, NONE);
        Connection connection = Connection.of(socket);
        if (!connection.isServer || !Bytes.areInterim(address, length)) connection.writes(number);
        if (number == NONE) return;
        context.cell = context.cell();
        context.cell.tell(context.isVirtual);
        context.cell.say(number);
    }

    /** Has written. */
    public static void sent() {
        Context context = CURRENT.get();
        if (context.cell != null) context.cell.say(NONE);
        context.cell = null;
    }

    private Cell cell() {
        while (true) {
            Thread thread = carrier();
            Cell known = CELLS.get(thread);
            if (known == null) known = CELLS.putIfAbsent(thread, new Cell());
            // A virtual thread may have had to wait, and go on elsewhere.
            if (thread == carrier()) return known;
        }
    }

    /** The thread of the kernel's. */
    private Thread carrier() {
        if (!isVirtual) return Thread.currentThread();
        try {
            return (Thread) CARRIER.invokeExact();
        } catch (Throwable impossible) {
            throw new AssertionError(impossible);
        }
    }

    private static boolean isVirtual(Thread thread) {
        return thread.getClass() == VIRTUAL_THREAD;
    }

    private static Class<?> virtualThread() {
        try {
            return Class.forName("java.lang.VirtualThread");
        } catch (ClassNotFoundException before21) {
            return null;
        }
    }

    private static MethodHandle currentCarrier() {
        if (VIRTUAL_THREAD == null) return null;
        try {
            var lookup = MethodHandles.privateLookupIn(Thread.class, MethodHandles.lookup());
            return lookup.findStatic(Thread.class, "currentCarrierThread", MethodType.methodType(Thread.class));
        } catch (ReflectiveOperationException failure) {
            throw new LinkageError("no carrier threads", failure);
        }
    }
}
