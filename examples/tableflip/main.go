// Tableflip is a service that upgrades itself by github.com/cloudflare/tableflip,
// as that package's documentation has it. It knows nothing of a supervisor, and
// runs under one without being rebuilt:
//
//	supervisor run --protocol tableflip --listen http=tcp://127.0.0.1:8080 -- tableflip -listen 127.0.0.1:8080
//
// The supervisor plays its parent: the listener that it asks for is the one that
// the supervisor holds, its Ready is the generation's, and it drains when the
// supervisor tells it to upgrade itself, which is SIGHUP here.
package main

import (
	"errors"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/cloudflare/tableflip"
)

func main() {
	address := flag.String("listen", "localhost:8080", "`ADDRESS` to listen at")
	flag.Parse()
	if err := run(*address); err != nil {
		log.Fatal(err)
	}
}

func run(address string) error {
	upg, err := tableflip.New(tableflip.Options{})
	if err != nil {
		return err
	}
	defer upg.Stop()
	go func() { // ends with the process
		hangups := make(chan os.Signal, 1)
		signal.Notify(hangups, syscall.SIGHUP)
		for range hangups {
			if err := upg.Upgrade(); err != nil {
				log.Println("upgrade:", err)
			}
		}
	}()
	l, err := upg.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(echo)}
	serving := make(chan error, 1)
	open := new(sync.WaitGroup)
	go func() { serving <- server.Serve(counted{l, open}) }() // joined below
	if err := upg.Ready(); err != nil {
		return err
	}
	<-upg.Exit()
	// Not server.Shutdown: it closes a connection whose first request it has just
	// read (net/http, conn.serve).
	server.SetKeepAlivesEnabled(false)
	if err := l.Close(); err != nil {
		return err
	}
	time.AfterFunc(30*time.Second, func() { log.Fatal("connections are still open") })
	if err := <-serving; !errors.Is(err, net.ErrClosed) {
		return err
	}
	open.Wait()
	return nil
}

// counted counts the open connections.
type counted struct {
	net.Listener
	open *sync.WaitGroup
}

func (l counted) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.open.Add(1)
	return &countedConn{Conn: conn, closed: l.open.Done}, nil
}

type countedConn struct {
	net.Conn
	once   sync.Once
	closed func()
}

func (c *countedConn) Close() error {
	c.once.Do(c.closed)
	return c.Conn.Close()
}

// echo answers with what it is sent.
func echo(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(w, r.Body); err != nil {
		log.Println("echo:", err)
	}
}
