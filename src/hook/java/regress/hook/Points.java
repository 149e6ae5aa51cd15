package regress.hook;

import java.lang.instrument.ClassFileTransformer;
import java.security.ProtectionDomain;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import regress.hook.asm.ClassReader;
import regress.hook.asm.ClassVisitor;
import regress.hook.asm.ClassWriter;
import regress.hook.asm.MethodVisitor;
import regress.hook.asm.Opcodes;

/** The methods to which calls of {@code regress.runtime.Context} are added: where work changes threads, and where sockets are used. */
final class Points implements ClassFileTransformer, Opcodes {
    private static final String CONTEXT = "regress/runtime/Context";
    private static final String COMPLETABLE = "java/util/concurrent/CompletableFuture$";

    /** What is added at the beginning of a method, and before each return from it. */
    private record Point(String method, String descriptor, Code first, Code last) {}

    private interface Code {
        void addTo(MethodVisitor method, int returning);
    }

    private static final Code NOTHING = (method, returning) -> {};

    private final Map<String, List<Point>> points = new HashMap<>();

    Points() {
        String concurrent = "java/util/concurrent/", pools = concurrent + "ForkJoinPool", tasks = concurrent + "ForkJoinTask";
        for (String pool : List.of(concurrent + "ThreadPoolExecutor", "org/apache/tomcat/util/threads/ThreadPoolExecutor")) {
            add(pool, "execute", "(Ljava/lang/Runnable;)", with(1, "given"), NOTHING);
            add(pool, "beforeExecute", "(", with(2, "begins"), NOTHING);
            add(pool, "afterExecute", "(", NOTHING, call("ends", "()V"));
        }
        add(concurrent + "ScheduledThreadPoolExecutor", "delayedExecute", "(", with(1, "given"), NOTHING);
        add(pools, "externalSubmit", "(", with(1, "given"), NOTHING);
        add(pools, "poolSubmit", "(Z", with(2, "given"), NOTHING);
        add(pools, "scheduleDelayedTask", "(", with(1, "given"), NOTHING);
        add(tasks, "fork", "(", with(0, "given"), NOTHING);
        add(tasks, "invoke", "(", with(0, "given"), NOTHING);
        add(tasks, "doExec", "(", with(0, "taken"), call("done", "()V"));
        add("java/lang/VirtualThread", "start", "(Ljdk/", with(0, "given"), NOTHING);
        add(COMPLETABLE + "Completion", "<init>", "(", NOTHING, with(0, "made"));
        // A request of java.net.http is written when its connection asks for it, in a thread of the client's.
        String client = "jdk/internal/net/http/Http1Exchange$Http1Publisher$WriteTask";
        add(client, "<init>", "(", NOTHING, with(0, "made"));
        add(client, "run", "()", with(0, "taken"), call("done", "()V"));
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

    boolean concern(String type) {
        return points.containsKey(type) || (type != null && type.startsWith(COMPLETABLE));
    }

    private List<Point> of(String type) {
        var all = new ArrayList<>(points.getOrDefault(type, List.of()));
        // What waits for a future is run by a method of the same name each.
        if (type.startsWith(COMPLETABLE)) all.add(new Point("tryFire", "(I)", Points::resumes, call("done", "()V")));
        return all;
    }

    @Override
    public byte[] transform(ClassLoader loader, String type, Class<?> before, ProtectionDomain domain, byte[] code) {
        if (!concern(type)) return null;
        var reader = new ClassReader(code);
        var writer = new ClassWriter(reader, ClassWriter.COMPUTE_MAXS);
        reader.accept(new Adding(writer, of(type)), 0);
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

    private static void resumes(MethodVisitor method, int returning) {
        method.visitVarInsn(ALOAD, 0);
        method.visitVarInsn(ILOAD, 1);
        call("resumes", "(Ljava/lang/Object;I)V").addTo(method, returning);
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
