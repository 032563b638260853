// Command echo is a raw TCP server that is upgraded without losing a byte: it
// sends back what it receives.
//
//	supervisor run --listen echo=tcp://127.0.0.1:7007 -- ./echo
//
// The echo protocol has no word for "please go": a generation that drains goes
// on echoing for a client that goes on sending, and ends a connection on which
// nothing was sent for -idle.
package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"log"
	"net"
	"os"
	"time"

	"example.com/supervisor/service"
)

func main() {
	listen := flag.String("listen", "echo=tcp://127.0.0.1:7007", "listener to open when there is no supervisor")
	idle := flag.Duration("idle", time.Second, "how long a silent connection is kept while draining")
	flag.Parse()
	if err := run(*listen, *idle); err != nil {
		log.Fatalf("echo: %v", err)
	}
}

func run(listen string, idle time.Duration) error {
	svc, err := service.Join(service.Config{Listen: []string{listen}})
	if err != nil {
		return err
	}
	err = svc.Serve("echo", func(_ context.Context, c net.Conn) {
		if err := echo(c, svc.Draining(), idle); err != nil {
			log.Printf("echo %s: %v", c.RemoteAddr(), err)
		}
	})
	if err != nil {
		return err
	}
	return svc.Run(context.Background())
}

// echo copies until the client ends. Copying within one connection, as from one
// to another, happens in the kernel (splice) until the service drains; then
// every read has a deadline.
func echo(c net.Conn, draining <-chan struct{}, idle time.Duration) error {
	done := make(chan struct{})
	watched := make(chan struct{})
	go func() { // joined below
		defer close(watched)
		select {
		case <-draining:
			_ = c.SetReadDeadline(time.Now()) // interrupts io.Copy
		case <-done:
		}
	}()
	_, err := io.Copy(c, c)
	close(done)
	<-watched
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return echoUntilSilent(c, idle)
}

func echoUntilSilent(c net.Conn, idle time.Duration) error {
	buffer := make([]byte, 32<<10)
	for {
		if err := c.SetReadDeadline(time.Now().Add(idle)); err != nil {
			return err
		}
		n, err := c.Read(buffer)
		if _, err := c.Write(buffer[:n]); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
