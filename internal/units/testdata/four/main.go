// Command four is a service with four listeners: http and admin (TCP) and
// local (Unix) send back over HTTP what they get and say who they are, ping (UDP)
// does so with the generation.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"

	"example.com/supervisor/service"
)

func main() {
	svc, err := service.Join(service.Config{})
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{"http", "admin", "local"} {
		answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Generation", strconv.Itoa(svc.Generation()))
			w.Header().Set("X-Listener", name)
			_, _ = io.Copy(w, r.Body)
		})
		if err := svc.ServeHTTP(name, &http.Server{Handler: answer}); err != nil {
			log.Fatal(err)
		}
	}
	conn, err := svc.PacketConn("ping")
	if err != nil {
		log.Fatal(err)
	}
	go pong(conn, svc.Generation()) // ends with the process
	if err := svc.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func pong(conn net.PacketConn, generation int) {
	defer conn.Close() // the last answer is out
	packet := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(packet)
		if err != nil {
			return // drained
		}
		_, _ = conn.WriteTo(fmt.Appendf(nil, "%s of generation %d", packet[:n], generation), from)
	}
}
