package service_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"example.com/supervisor/service"
)

// A web server that is upgraded without a failed request. Without a supervisor
// it opens the listener itself and runs until SIGTERM or SIGINT.
func Example() {
	svc, err := service.Join(service.Config{Listen: []string{"http=tcp://127.0.0.1:0"}})
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: http.FileServer(http.Dir("."))}
	if err := svc.ServeHTTP("http", server); err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithTimeout(context.Background(), 50*time.Millisecond) // a real one: context.Background()
	defer stop()
	fmt.Println("ended:", svc.Run(ctx))
	// Output: ended: <nil>
}

// A datagram server reads until the service drains, and closes the socket after
// its last answer.
func ExampleService_PacketConn() {
	svc, err := service.Join(service.Config{Listen: []string{"echo=udp://127.0.0.1:0"}})
	if err != nil {
		log.Fatal(err)
	}
	conn, err := svc.PacketConn("echo")
	if err != nil {
		log.Fatal(err)
	}
	go func() { // Run waits for the Close
		defer conn.Close()
		buffer := make([]byte, 64<<10)
		for {
			n, client, err := conn.ReadFrom(buffer)
			if errors.Is(err, net.ErrClosed) {
				return // the service drains
			}
			if err != nil {
				log.Print(err)
				return
			}
			_, _ = conn.WriteTo(buffer[:n], client) // a client that is gone misses its answer
		}
	}()
	ctx, stop := context.WithTimeout(context.Background(), 50*time.Millisecond) // a real one: context.Background()
	defer stop()
	fmt.Println("ended:", svc.Run(ctx))
	// Output: ended: <nil>
}
