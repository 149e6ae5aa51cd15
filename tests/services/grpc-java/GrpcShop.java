import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.HandlerRegistry;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.ServerMethodDefinition;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.ServerCalls;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * The gRPC shop in Java with grpc-java, as server and as client. Messages are written by hand, so that no generated code is
 * needed: shop.proto and stock.proto say what they are.
 *
 * <p>Environment: PORT, STOCK (host:port), and SHOP_CHANGE, the name of what the new build does differently.
 */
public final class GrpcShop {
    private static final String CHANGE = System.getenv().getOrDefault("SHOP_CHANGE", "none");
    private static final ManagedChannel SHARED = connect();

    private static final MethodDescriptor.Marshaller<byte[]> WRITTEN = new MethodDescriptor.Marshaller<>() {
        @Override
        public InputStream stream(byte[] message) {
            return new ByteArrayInputStream(message);
        }

        @Override
        public byte[] parse(InputStream message) {
            try {
                return message.readAllBytes();
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }
    };

    private static MethodDescriptor<byte[], byte[]> method(String name, MethodType type) {
        return MethodDescriptor.newBuilder(WRITTEN, WRITTEN).setFullMethodName(name).setType(type).build();
    }

    private static ManagedChannel connect() {
        String[] stock = System.getenv("STOCK").split(":");
        return NettyChannelBuilder.forAddress(stock[0], Integer.parseInt(stock[1])).usePlaintext().build();
    }

    private static ManagedChannel stock() {
        return CHANGE.equals("channel-per-call") ? connect() : SHARED;
    }

    private static ClientCall<byte[], byte[]> call(String name, MethodType type) {
        return stock().newCall(method("stock.Stock/" + name, type), CallOptions.DEFAULT.withDeadlineAfter(20, TimeUnit.SECONDS));
    }

    private static void varint(ByteArrayOutputStream to, long value) {
        for (; value > 127; value >>>= 7) {
            to.write((int) (value & 127 | 128));
        }
        to.write((int) value);
    }

    /** A message of numbers, the first of them field 1. */
    private static byte[] numbers(long... values) {
        ByteArrayOutputStream message = new ByteArrayOutputStream();
        for (int index = 0; index < values.length; index++) {
            varint(message, (index + 1) << 3);
            varint(message, values[index]);
        }
        return message.toByteArray();
    }

    private static byte[] ask(long id) {
        ByteArrayOutputStream message = new ByteArrayOutputStream();
        message.writeBytes(numbers(CHANGE.equals("changed-field") ? id + 1 : id));
        message.writeBytes(new byte[] {18, 4, 's', 'h', 'o', 'p'});
        return message.toByteArray();
    }

    /** The number in a field, 0 where there is none. */
    private static long field(byte[] message, int wanted) {
        long[] at = {0};
        long found = 0;
        while (at[0] < message.length) {
            long key = read(message, at);
            long value = read(message, at);
            if ((key & 7) == 2) {
                at[0] += value;
            } else if (key >> 3 == wanted) {
                found = value;
            }
        }
        return found;
    }

    private static long read(byte[] message, long[] at) {
        long value = 0;
        for (int shift = 0;; shift += 7) {
            byte next = message[(int) at[0]++];
            value |= (long) (next & 127) << shift;
            if (next >= 0) {
                return value;
            }
        }
    }

    private static byte[] priced(byte[] item) {
        return numbers(field(item, 1), field(item, 3) * (CHANGE.equals("other-price") ? 4 : 3));
    }

    private static void price(byte[] asked, StreamObserver<byte[]> answers) {
        var call = call(CHANGE.equals("other-method") ? "Find" : "Get", MethodType.UNARY);
        ClientCalls.asyncUnaryCall(call, ask(field(asked, 1)), mapped(answers));
    }

    private static void prices(byte[] asked, StreamObserver<byte[]> answers) {
        ClientCalls.asyncServerStreamingCall(call("List", MethodType.SERVER_STREAMING), ask(0), mapped(answers));
    }

    /** Passes items on as prices. */
    private static StreamObserver<byte[]> mapped(StreamObserver<byte[]> answers) {
        return new StreamObserver<>() {
            @Override
            public void onNext(byte[] item) {
                answers.onNext(priced(item));
            }

            @Override
            public void onError(Throwable error) {
                answers.onError(error);
            }

            @Override
            public void onCompleted() {
                answers.onCompleted();
            }
        };
    }

    private static StreamObserver<byte[]> total(StreamObserver<byte[]> answers) {
        List<Long> ids = new ArrayList<>();
        return new StreamObserver<>() {
            @Override
            public void onNext(byte[] asked) {
                ids.add(field(asked, 1));
            }

            @Override
            public void onError(Throwable error) {
                answers.onError(error);
            }

            @Override
            public void onCompleted() {
                if (CHANGE.equals("dropped-call")) {
                    answers.onNext(numbers(ids.size()));
                    answers.onCompleted();
                    return;
                }
                StreamObserver<byte[]> sums = new StreamObserver<>() {
                    @Override
                    public void onNext(byte[] reserved) {
                        answers.onNext(numbers(field(reserved, 1)));
                    }

                    @Override
                    public void onError(Throwable error) {
                        answers.onError(error);
                    }

                    @Override
                    public void onCompleted() {
                        answers.onCompleted();
                    }
                };
                var reserve = ClientCalls.asyncClientStreamingCall(call("Reserve", MethodType.CLIENT_STREAMING), sums);
                ids.forEach(id -> reserve.onNext(ask(id)));
                reserve.onCompleted();
            }
        };
    }

    /** Asks for one item after the other, each when the one before was answered. */
    private static StreamObserver<byte[]> chat(StreamObserver<byte[]> answers) {
        BlockingQueue<Integer> answered = new LinkedBlockingQueue<>();
        var told = new StreamObserver<byte[]>() {
            @Override
            public void onNext(byte[] item) {
                answers.onNext(priced(item));
                answered.add(1);
            }

            @Override
            public void onError(Throwable error) {
                answers.onError(error);
                answered.add(0);
            }

            @Override
            public void onCompleted() {
                answers.onCompleted();
            }
        };
        var watch = ClientCalls.asyncBidiStreamingCall(call("Watch", MethodType.BIDI_STREAMING), told);
        return new StreamObserver<>() {
            @Override
            public void onNext(byte[] asked) {
                watch.onNext(ask(field(asked, 1)));
                try {
                    answered.take();
                } catch (InterruptedException error) {
                    watch.onError(error);
                }
            }

            @Override
            public void onError(Throwable error) {
                watch.onError(error);
            }

            @Override
            public void onCompleted() {
                watch.onCompleted();
            }
        };
    }

    private static ServerMethodDefinition<byte[], byte[]> served(String name) {
        return switch (name) {
            case "shop.Shop/Price" -> ServerMethodDefinition.create(
                method(name, MethodType.UNARY), ServerCalls.asyncUnaryCall(GrpcShop::price));
            case "shop.Shop/Prices" -> ServerMethodDefinition.create(
                method(name, MethodType.SERVER_STREAMING), ServerCalls.asyncServerStreamingCall(GrpcShop::prices));
            case "shop.Shop/Total" -> ServerMethodDefinition.create(
                method(name, MethodType.CLIENT_STREAMING), ServerCalls.asyncClientStreamingCall(GrpcShop::total));
            case "shop.Shop/Chat" -> ServerMethodDefinition.create(
                method(name, MethodType.BIDI_STREAMING), ServerCalls.asyncBidiStreamingCall(GrpcShop::chat));
            default -> null;
        };
    }

    public static void main(String[] arguments) throws Exception {
        int port = Integer.parseInt(System.getenv("PORT"));
        var server = NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", port))
            .fallbackHandlerRegistry(new HandlerRegistry() {
                @Override
                public ServerMethodDefinition<?, ?> lookupMethod(String name, String authority) {
                    return served(name);
                }
            })
            .build()
            .start();
        System.err.println("shop listens");
        server.awaitTermination();
    }
}
