// Udp is a datagram service that can be upgraded without an unanswered question:
// it sends back what it gets, and says who it is. It shows how a program that reads
// and writes by itself comes to its end.
//
//	supervisor run --listen udp=udp://127.0.0.1:5353 -- udp
//	udp & kill -HUP $!
//
// All generations have the same socket. The kernel keeps what nobody has read yet,
// so that nothing is lost while one hands over to the next.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"

	"example.com/supervisor/service"
)

func main() {
	listen := flag.String("listen", "udp=udp://127.0.0.1:5353", "what to listen on without a supervisor")
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
	conn, err := svc.PacketConn("udp")
	if err != nil {
		return err
	}
	answered := make(chan error, 1)
	go func() { answered <- answer(conn) }() // joined below
	err = svc.Run(context.Background())
	return errors.Join(err, <-answered)
}

// answer reads until the service drains, which ReadFrom tells by net.ErrClosed. The
// socket is still open then: what was read can be answered. That the last answer
// is written is told by closing it, for which the drain waits.
func answer(conn net.PacketConn) error {
	defer conn.Close()
	b := make([]byte, 1<<16)
	for {
		n, from, err := conn.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		text := fmt.Appendf(nil, "%s, says process %d", b[:n], os.Getpid())
		if _, err := conn.WriteTo(text, from); err != nil {
			log.Printf("cannot answer %v: %v", from, err) // it asks again, or not
		}
	}
}
