// Echo is a raw TCP service that a supervisor can upgrade without a lost byte:
// it sends back what it gets until the client closes its side.
//
//	supervisor run --listen echo=tcp://127.0.0.1:7007 -- echo
//	supervisor upgrade
//
// Without a supervisor it upgrades itself at SIGHUP.
//
// A client that stays connected keeps its generation draining until the drain
// deadline. A protocol that can say goodbye would say it when Draining of the
// service is closed.
package main

import (
	"context"
	"flag"
	"io"
	"log"
	"net"

	"example.com/supervisor/service"
)

func main() {
	listen := flag.String("listen", "echo=tcp://127.0.0.1:7007", "what to listen on without a supervisor")
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
	if err := svc.Serve("echo", echo); err != nil {
		return err
	}
	return svc.Run(context.Background())
}

// echo copies in the kernel (splice(2)): the connection is still a TCP one.
func echo(_ context.Context, conn net.Conn) {
	_, _ = io.Copy(conn, conn) // a client that is gone needs no answer
}
