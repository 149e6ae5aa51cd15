package regress.hook;

import java.io.IOException;
import java.io.InputStream;
import java.lang.instrument.Instrumentation;
import java.lang.instrument.UnmodifiableClassException;
import java.util.List;
import java.util.Map;
import java.util.Set;
import jdk.internal.misc.Unsafe;
import regress.runtime.Context;

/**
 * Tells regress for which request a thread writes to a socket. Load it with {@code -javaagent:hook.jar}, or into a process that
 * runs. Nothing leaves the process: the number of the request stands in memory that the recorder reads.
 */
public final class Agent {
    /** In an order in which each finds those that it extends. */
    private static final List<String> RUNTIME =
            List.of("Bytes", "WeakMap$Key", "WeakMap$Asked", "WeakMap", "Cell", "Connection", "Context$Owner", "Context$1", "Context");

    /** The first: the JVM makes another each time, which knows of no transformer that it was not given. */
    private static Instrumentation first;
    private static Points points;

    private Agent() {}

    public static void premain(String options, Instrumentation instrumentation) {
        try {
            agentmain(options, instrumentation);
        } catch (Exception | LinkageError failure) {
            // The service runs without it.
            System.err.println("regress: the hook does not work in this Java: " + failure);
        }
    }

    /** With {@code off}: takes back what was changed, until it is loaded again. Who has it loaded is told of a failure. */
    public static synchronized void agentmain(String options, Instrumentation instrumentation) throws Exception {
        boolean off = "off".equals(options), isOff = points == null;
        if (off == isOff) return;
        if (first == null) {
            prepare(instrumentation);
            first = instrumentation;
        }
        if (off) {
            takeBack();
            return;
        }
        points = new Points();
        first.addTransformer(points, true);
        try {
            change(points, first);
            if (points.failure() != null) throw points.failure();
        } catch (Exception | LinkageError failure) {
            takeBack();
            throw failure;
        }
    }

    private static void takeBack() throws UnmodifiableClassException {
        Points before = points;
        points = null;
        first.removeTransformer(before);
        change(before, first);
    }

    private static void change(Points points, Instrumentation instrumentation) throws UnmodifiableClassException {
        for (Class<?> loaded : instrumentation.getAllLoadedClasses()) {
            // The classes of lambdas are not.
            boolean isModifiable = instrumentation.isModifiableClass(loaded);
            if (isModifiable && points.concern(loaded)) instrumentation.retransformClasses(loaded);
        }
    }

    private static void prepare(Instrumentation instrumentation) throws IOException {
        Module java = Object.class.getModule(), agent = Agent.class.getModule();
        var memory = Map.of("jdk.internal.misc", Set.of(agent));
        instrumentation.redefineModule(java, Set.of(), memory, Map.of(), Set.of(), Map.of());
        Class<?> context = null;
        for (String name : RUNTIME) context = define("regress/runtime/" + name);
        var runtime = Set.of(context.getModule());
        var exports = Map.of("sun.nio.ch", runtime, "jdk.internal.misc", runtime);
        instrumentation.redefineModule(java, Set.of(), exports, Map.of("java.lang", runtime), Set.of(), Map.of());
        Context.prepare();
    }

    /**
     * Where classes of the JDK find it, without a change to their class path: HotSpot would give up the archive of its classes
     * for that, and print so.
     */
    private static Class<?> define(String name) throws IOException {
        try (InputStream file = Agent.class.getResourceAsStream("/" + name + ".class")) {
            byte[] code = file.readAllBytes();
            return Unsafe.getUnsafe().defineClass(name, code, 0, code.length, null, null);
        }
    }
}
