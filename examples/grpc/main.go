// Grpc is a gRPC service that can be upgraded without a failed call, in three
// ways with the same code: under a supervisor, as a unit of systemd, and alone.
// It shows how a server that serves its listener itself, and has a graceful end of
// its own, does so with package service.
//
//	supervisor run --listen grpc=tcp://127.0.0.1:50051 -- grpc
//	grpc & kill -HUP $!
//
// It has one service with two methods: echo.Echo/Say answers with what it is
// sent, and echo.Echo/Count streams the numbers up to what it is sent. It is a
// module of its own, so that who imports package service does not get gRPC.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"net"
	"os"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"example.com/supervisor/service"
)

func main() {
	listen := flag.String("listen", "grpc=tcp://127.0.0.1:50051", "what to listen on without a supervisor")
	flag.Parse()
	if err := run(*listen); err != nil {
		log.Fatalf("error: %v", err)
	}
}

func run(listen string) error {
	svc, err := service.Join(service.Config{Listen: []string{listen}})
	if err != nil {
		return err
	}
	l, err := svc.Listener("grpc")
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	server.RegisterService(&description, echo{})
	ended := make(chan struct{})
	go func() { // joined below
		defer close(ended)
		serve(svc, server, l)
	}()
	err = svc.Run(context.Background())
	<-ended
	return err
}

// settleTime is how long a connection that was just accepted has to be greeted.
const settleTime = 100 * time.Millisecond

// serve returns when the last call has ended, or was cut. While the service drains
// its listener is closed once nobody else needs what waits in its queue; only
// then does Accept fail, and Serve return. To call GracefulStop as soon as the
// drain begins would close the listener too early, with what waits in it.
//
// GracefulStop tells every client by GOAWAY to make its next calls elsewhere, and
// waits for those under way. It drops connections that have not been greeted yet
// (grpc.Server.handleRawConn), hence the pause before it.
func serve(svc *service.Service, server *grpc.Server, l net.Listener) {
	err := server.Serve(l)
	if !errors.Is(err, net.ErrClosed) {
		svc.Fail(err)
	}
	<-time.After(settleTime)
	server.GracefulStop() // the drain's deadline cuts the connections that it waits for
}

// echo is the service. Its messages are protobuf's own, so that nothing needs to
// be generated.
type echo struct{}

var description = grpc.ServiceDesc{
	ServiceName: "echo.Echo",
	HandlerType: (*any)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Say", Handler: say}},
	Streams:     []grpc.StreamDesc{{StreamName: "Count", Handler: count, ServerStreams: true}},
}

func say(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	in := new(wrapperspb.StringValue)
	if err := decode(in); err != nil {
		return nil, err
	}
	return in, grpc.SetHeader(ctx, metadata.Pairs("pid", strconv.Itoa(os.Getpid())))
}

// count sends a number every ten milliseconds.
func count(_ any, stream grpc.ServerStream) error {
	in := new(wrapperspb.Int64Value)
	if err := stream.RecvMsg(in); err != nil {
		return err
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := range in.GetValue() {
		select {
		case <-tick.C:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
		if err := stream.SendMsg(wrapperspb.Int64(n + 1)); err != nil {
			return err
		}
	}
	return nil
}
