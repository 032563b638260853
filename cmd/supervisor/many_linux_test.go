package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.com/supervisor/service"
)

// many is a service that serves every listener that it is handed: HTTP, and echo on
// those whose names begin with "udp".
func many() {
	exit := flag.Int("exit", 0, "exit with this `STATUS` instead of getting ready")
	flag.Int("version", 0, "means nothing")
	flag.Parse()
	if *exit != 0 {
		os.Exit(*exit)
	}
	if err := runMany(); err != nil {
		fmt.Fprintln(os.Stderr, "many:", err)
		os.Exit(1)
	}
}

func runMany() error {
	s, err := service.Join(service.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	mux.HandleFunc("GET /slow", func(_ http.ResponseWriter, r *http.Request) {
		ms, _ := strconv.Atoi(r.URL.Query().Get("ms"))
		<-time.After(time.Duration(ms) * time.Millisecond)
	})
	var echoes sync.WaitGroup
	for _, name := range s.Names() {
		if !strings.HasPrefix(name, "udp") {
			if err := s.ServeHTTP(name, &http.Server{Handler: mux}); err != nil {
				return err
			}
			continue
		}
		conn, err := s.PacketConn(name)
		if err != nil {
			return err
		}
		echoes.Go(func() { echo(conn) })
	}
	err = s.Run(context.Background())
	echoes.Wait()
	return err
}

// echo answers until conn is closed, which it takes.
func echo(conn net.PacketConn) {
	defer conn.Close()
	for packet := make([]byte, 1500); ; {
		n, from, err := conn.ReadFrom(packet)
		if err != nil {
			return
		}
		_, _ = conn.WriteTo(packet[:n], from)
	}
}
