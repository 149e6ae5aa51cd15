package regress.hook;

import java.lang.instrument.ClassFileTransformer;
import java.security.ProtectionDomain;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import regress.hook.asm.ClassReader;
import regress.hook.asm.ClassVisitor;
import regress.hook.asm.ClassWriter;
import regress.hook.asm.FieldVisitor;
import regress.hook.asm.MethodVisitor;
import regress.hook.asm.Opcodes;

/**
 * The methods to which calls of {@code regress.runtime.Context} are added: where work changes threads, and where sockets are
 * used.
 */
final class Points implements ClassFileTransformer, Opcodes {
    private static final String CONTEXT = "regress/runtime/Context";
    private static final String COMPLETABLE = "java/util/concurrent/CompletableFuture$";

    /** What a service hands over. */
    private static final List<String> TASKS = List.of("java/lang/Runnable", "java/util/concurrent/Callable");
    private static final String[] OTHERS = {"java/", "javax/", "jdk/", "sun/", "com/sun/", "regress/"};

    /** What is added at the beginning of a method, and before each return from it. */
    private record Point(String method, String descriptor, Code first, Code last) {}

    private interface Code {
        void addTo(MethodVisitor method, int returning);

        default Code and(Code next) {
            return (method, returning) -> {
                addTo(method, returning);
                next.addTo(method, returning);
            };
        }
    }

    private static final Code NOTHING = (method, returning) -> {};

    /** What pools call around each task; those of their subclasses do not always call them in turn. */
    private static final List<Point> OF_POOLS = List.of(
            new Point("beforeExecute", "(Ljava/lang/Thread;", with(2, "begins"), NOTHING),
            new Point("afterExecute", "(Ljava/lang/Runnable;", NOTHING, call("ends", "()V")));

    private final Map<String, List<Point>> points = new HashMap<>();
    private volatile Exception failure;

    Points() {
        String concurrent = "java/util/concurrent/", pools = concurrent + "ForkJoinPool", tasks = concurrent + "ForkJoinTask";
        for (String pool : List.of(concurrent + "ThreadPoolExecutor", "org/apache/tomcat/util/threads/ThreadPoolExecutor")) {
            add(pool, "execute", "(Ljava/lang/Runnable;)", with(1, "given"), NOTHING);
            points.get(pool).addAll(OF_POOLS);
        }
        add(concurrent + "ScheduledThreadPoolExecutor", "delayedExecute", "(", with(1, "given"), NOTHING);
        add(pools, "externalSubmit", "(", with(1, "given"), NOTHING);
        add(pools, "poolSubmit", "(Z", with(2, "given"), NOTHING);
        add(pools, "scheduleDelayedTask", "(", with(1, "given"), NOTHING);
        add(tasks, "fork", "(", with(0, "given"), NOTHING);
        add(tasks, "invoke", "(", with(0, "given"), NOTHING);
        add(tasks, "doExec", "(", with(0, "taken"), call("done", "()V"));
        add("java/lang/VirtualThread", "start", "(Ljdk/", with(0, "given"), NOTHING);
        // A request of java.net.http is written when its connection asks for it, and one of OkHttp is handed over when there is
        // room for it: by whoever makes that so.
        String http = "jdk/internal/net/http/", call = "okhttp3/internal/connection/RealCall$AsyncCall";
        for (String request : List.of(http + "Http1Exchange$Http1Publisher$WriteTask", call)) {
            add(request, "<init>", "(", NOTHING, with(0, "settled"));
            add(request, "run", "()", with(0, "taken"), call("done", "()V"));
        }
        // From what is asked for, over redirections and new attempts, to what is written.
        add(http + "MultiExchange", "<init>", "(", NOTHING, with(0, "settled"));
        add(http + "Exchange", "<init>", "(", with(2, "continued"), with(0, "settled").and(call("done", "()V")));
        add(http + "Http1Exchange", "<init>", "(", with(1, "continued"), call("done", "()V"));
        add("org/apache/tomcat/util/net/SocketProcessorBase", "reset", "(", with(0, "renewed"), NOTHING);
        add("sun/nio/ch/SelectorImpl", "lockAndDoSelect", "(", call("selects", "()V"), NOTHING);
        add("sun/nio/ch/ServerSocketChannelImpl", "bind", "(", NOTHING, call("listens", "()V"));
        add("sun/nio/ch/NioSocketImpl", "listen", "(", NOTHING, call("listens", "()V"));
        for (String method : List.of("read", "readv")) {
            add("sun/nio/ch/SocketDispatcher", method, "(Ljava/io/FileDescriptor;JI)", NOTHING, Points::received);
        }
        for (String method : List.of("write", "writev")) {
            add("sun/nio/ch/SocketDispatcher", method, "(Ljava/io/FileDescriptor;JI)", Points::sends, call("sent", "()V"));
        }
    }

    private void add(String type, String method, String descriptor, Code first, Code last) {
        points.computeIfAbsent(type, name -> new ArrayList<>()).add(new Point(method, descriptor, first, last));
    }

    boolean concern(Class<?> type) {
        String name = type.getName().replace('.', '/');
        if (concern(name)) return true;
        if (type.isInterface() || !isOfService(name)) return false;
        for (Class<?> has : type.getInterfaces()) if (has == Runnable.class || has == Callable.class) return true;
        return type.getSuperclass() != null && isPool(type.getSuperclass().getName());
    }

    private boolean concern(String type) {
        return points.containsKey(type) || type.startsWith(COMPLETABLE);
    }

    /** In loops that load no class of the JDK: some of these are loaded while this runs. */
    private static boolean isOfService(String type) {
        for (String others : OTHERS) if (type.startsWith(others)) return false;
        return true;
    }

    private static boolean isPool(String type) {
        return type != null && type.endsWith("ThreadPoolExecutor");
    }

    private static boolean isTask(String[] interfaces) {
        for (String name : interfaces) if (TASKS.contains(name)) return true;
        return false;
    }

    private List<Point> of(ClassReader reader) {
        String type = reader.getClassName();
        var all = new ArrayList<>(points.getOrDefault(type, List.of()));
        if ((reader.getAccess() & ACC_INTERFACE) != 0) return all;
        if (isPool(reader.getSuperName())) all.addAll(OF_POOLS);
        // After those that name it.
        if (isOfService(type) && isTask(reader.getInterfaces())) all.add(new Point("<init>", "(", NOTHING, with(0, "made")));
        if (type.startsWith(COMPLETABLE) && reader.getSuperName().endsWith("Completion")) {
            // What waits for a future has a function, and is run by a method of the same name each.
            reader.accept(new ClassVisitor(ASM9) {
                @Override
                public FieldVisitor visitField(int access, String name, String descriptor, String signature, Object value) {
                    if (name.equals("fn")) {
                        Code function = (method, returning) -> method.visitFieldInsn(GETFIELD, type, name, descriptor);
                        all.add(new Point("<init>", "(", NOTHING, waiting(function, "settled")));
                        all.add(new Point("tryFire", "(I)", waiting(function, "resumes"), call("done", "()V")));
                    }
                    return null;
                }
            }, ClassReader.SKIP_CODE);
        }
        return all;
    }

    /** Why a class that is named here could not be changed: its format may be newer than what is known of it. */
    Exception failure() {
        return failure;
    }

    /** What this throws the JVM keeps to itself. */
    @Override
    public byte[] transform(ClassLoader loader, String type, Class<?> before, ProtectionDomain domain, byte[] code) {
        if (type == null || !(concern(type) || isOfService(type))) return null;
        try {
            return changed(new ClassReader(code));
        } catch (RuntimeException unreadable) {
            if (points.containsKey(type)) failure = unreadable;
            return null;
        }
    }

    private byte[] changed(ClassReader reader) {
        List<Point> points = of(reader);
        if (points.isEmpty()) return null;
        var writer = new ClassWriter(reader, ClassWriter.COMPUTE_MAXS);
        reader.accept(new Adding(writer, points), 0);
        return writer.toByteArray();
    }

    private static final class Adding extends ClassVisitor {
        private final List<Point> points;

        Adding(ClassVisitor next, List<Point> points) {
            super(ASM9, next);
            this.points = points;
        }

        @Override
        public MethodVisitor visitMethod(int access, String name, String descriptor, String signature, String[] thrown) {
            MethodVisitor method = super.visitMethod(access, name, descriptor, signature, thrown);
            if ((access & (ACC_ABSTRACT | ACC_NATIVE | ACC_STATIC)) != 0) return method;
            for (Point point : points) {
                if (!name.equals(point.method) || !descriptor.startsWith(point.descriptor)) continue;
                return new MethodVisitor(ASM9, method) {
                    @Override
                    public void visitCode() {
                        super.visitCode();
                        point.first.addTo(mv, 0);
                    }

                    @Override
                    public void visitInsn(int opcode) {
                        if (opcode >= IRETURN && opcode <= RETURN) point.last.addTo(mv, opcode);
                        super.visitInsn(opcode);
                    }
                };
            }
            return method;
        }
    }

    private static Code call(String what, String descriptor) {
        return (method, returning) -> method.visitMethodInsn(INVOKESTATIC, CONTEXT, what, descriptor, false);
    }

    /** With an argument of the method, or {@code this}. */
    private static Code with(int variable, String what) {
        return (method, returning) -> {
            method.visitVarInsn(ALOAD, variable);
            call(what, "(Ljava/lang/Object;)V").addTo(method, returning);
        };
    }

    /** With the function; and how it is run, where it is. */
    private static Code waiting(Code function, String what) {
        return (method, returning) -> {
            boolean isRun = what.equals("resumes");
            method.visitVarInsn(ALOAD, 0);
            if (isRun) method.visitVarInsn(ILOAD, 1);
            method.visitVarInsn(ALOAD, 0);
            function.addTo(method, returning);
            String descriptor = isRun ? "(Ljava/lang/Object;ILjava/lang/Object;)V" : "(Ljava/lang/Object;Ljava/lang/Object;)V";
            call(what, descriptor).addTo(method, returning);
        };
    }

    private static void sends(MethodVisitor method, int returning) {
        method.visitVarInsn(ALOAD, 1);
        method.visitVarInsn(LLOAD, 2);
        method.visitVarInsn(ILOAD, 4);
        call("sends", "(Ljava/io/FileDescriptor;JI)V").addTo(method, returning);
    }

    /** With the count that is about to be returned. */
    private static void received(MethodVisitor method, int returning) {
        if (returning == IRETURN) {
            method.visitInsn(DUP);
            method.visitInsn(I2L);
        } else {
            method.visitInsn(DUP2);
        }
        method.visitVarInsn(ALOAD, 1);
        call("received", "(JLjava/io/FileDescriptor;)V").addTo(method, returning);
    }
}
