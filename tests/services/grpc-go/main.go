// The gRPC shop in Go with grpc-go, as server and as client. Messages are written by hand, so that no generated code is needed:
// shop.proto and stock.proto say what they are.
//
// Environment: PORT, STOCK (host:port), CERTIFICATE and KEY (where entries come inside TLS), and SHOP_CHANGE, the name of what
// the new build does differently.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

var change = os.Getenv("SHOP_CHANGE")

// written is a codec for messages that are bytes already.
type written struct{}

func (written) Marshal(message any) ([]byte, error) { return *message.(*[]byte), nil }

func (written) Unmarshal(data []byte, message any) error {
	*message.(*[]byte) = append([]byte(nil), data...)
	return nil
}

func (written) Name() string { return "proto" }

func number(message []byte, field protowire.Number, value uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(message, field, protowire.VarintType), value)
}

// field gives the last number with that field number, which is 0 where there is none.
func field(message []byte, wanted protowire.Number) (found uint64) {
	for len(message) > 0 {
		number, kind, length := protowire.ConsumeTag(message)
		message = message[length:]
		if number == wanted && kind == protowire.VarintType {
			found, _ = protowire.ConsumeVarint(message)
		}
		message = message[protowire.ConsumeFieldValue(number, kind, message):]
	}
	return found
}

func connect() *grpc.ClientConn {
	connection, err := grpc.NewClient(os.Getenv("STOCK"),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodec(written{})))
	if err != nil {
		panic(err)
	}
	return connection
}

var shared = connect()

func stock() *grpc.ClientConn {
	if change == "channel-per-call" {
		return connect()
	}
	return shared
}

func ask(id uint64) *[]byte {
	if change == "changed-field" {
		id++
	}
	message := number(nil, 1, id)
	message = protowire.AppendString(protowire.AppendTag(message, 2, protowire.BytesType), "shop")
	return &message
}

func open(ctx context.Context, method string) (grpc.ClientStream, error) {
	return stock().NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/stock.Stock/"+method)
}

func receive(stream interface{ RecvMsg(any) error }) ([]byte, error) {
	var message []byte
	err := stream.RecvMsg(&message)
	return message, err
}

func priced(item []byte) *[]byte {
	times := uint64(3)
	if change == "other-price" {
		times = 4
	}
	message := number(number(nil, 1, field(item, 1)), 2, field(item, 3)*times)
	return &message
}

func price(entry grpc.ServerStream) error {
	asked, err := receive(entry)
	if err != nil {
		return err
	}
	method := "/stock.Stock/Get"
	if change == "other-method" {
		method = "/stock.Stock/Find"
	}
	var item []byte
	if err := stock().Invoke(entry.Context(), method, ask(field(asked, 1)), &item); err != nil {
		return err
	}
	return entry.SendMsg(priced(item))
}

func prices(entry grpc.ServerStream) error {
	if _, err := receive(entry); err != nil {
		return err
	}
	items, err := open(entry.Context(), "List")
	if err != nil {
		return err
	}
	items.SendMsg(ask(0))
	items.CloseSend()
	for {
		item, err := receive(items)
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := entry.SendMsg(priced(item)); err != nil {
			return err
		}
	}
}

func total(entry grpc.ServerStream) error {
	var ids []uint64
	for {
		asked, err := receive(entry)
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		ids = append(ids, field(asked, 1))
	}
	if change == "dropped-call" {
		sum := number(nil, 1, uint64(len(ids)))
		return entry.SendMsg(&sum)
	}
	reserve, err := open(entry.Context(), "Reserve")
	if err != nil {
		return err
	}
	for _, id := range ids {
		reserve.SendMsg(ask(id))
	}
	reserve.CloseSend()
	reserved, err := receive(reserve)
	if err != nil {
		return err
	}
	sum := number(nil, 1, field(reserved, 1))
	return entry.SendMsg(&sum)
}

// chat asks for one item after the other, each when the one before was answered.
func chat(entry grpc.ServerStream) error {
	watch, err := open(entry.Context(), "Watch")
	if err != nil {
		return err
	}
	for {
		asked, err := receive(entry)
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		watch.SendMsg(ask(field(asked, 1)))
		item, err := receive(watch)
		if err != nil {
			return err
		}
		if err := entry.SendMsg(priced(item)); err != nil {
			return err
		}
	}
	watch.CloseSend()
	_, err = receive(watch)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func answer(_ any, entry grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(entry)
	methods := map[string]func(grpc.ServerStream) error{
		"/shop.Shop/Price": price, "/shop.Shop/Prices": prices, "/shop.Shop/Total": total, "/shop.Shop/Chat": chat,
	}
	if method, known := methods[method]; known {
		return method(entry)
	}
	return status.Error(codes.Unimplemented, method)
}

func main() {
	options := []grpc.ServerOption{grpc.ForceServerCodec(written{}), grpc.UnknownServiceHandler(answer)}
	if certificate := os.Getenv("CERTIFICATE"); certificate != "" {
		secure, err := credentials.NewServerTLSFromFile(certificate, os.Getenv("KEY"))
		if err != nil {
			panic(err)
		}
		options = append(options, grpc.Creds(secure))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(os.Stderr, "shop listens")
	panic(grpc.NewServer(options...).Serve(listener))
}
