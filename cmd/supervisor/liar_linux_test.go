package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"example.com/supervisor/fdpass"
	"golang.org/x/sys/unix"
)

// liar is a service that lies when it comes back to a supervisor, and says on
// standard output how that is answered; then it tells the truth. With the argument
// "socket" the lie is that another socket is the listener. It listens as "http".
func liar() {
	if err := runLiar(); err != nil {
		fmt.Fprintln(os.Stderr, "liar:", err)
		os.Exit(1)
	}
}

// A lyingChild is what a liar is to its supervisor.
type lyingChild struct {
	welcome   fdpass.Welcome
	listeners []fdpass.Listener
	server    http.Server
}

func runLiar() error {
	conn, err := fdpass.FromEnv()
	if err != nil {
		return err
	}
	c := new(lyingChild)
	var probe int
	c.welcome, c.listeners, probe, err = fdpass.Accept(conn, fdpass.Hello{Library: "liar"})
	if err != nil {
		return err
	}
	_ = unix.Close(probe)
	served := make(chan error, 1)
	if err := c.serve(served); err != nil {
		return err
	}
	if err := conn.Send(fdpass.Ready{}); err != nil {
		return err
	}
	lie := c.lies
	if len(os.Args) > 1 && os.Args[1] == "socket" {
		lie = c.anotherSocket
	}
	for c.hears(conn) {
		_ = conn.Close()
		if err := lie(); err != nil {
			return err
		}
		if conn, err = c.back(c.truth(), c.listeners); err != nil {
			return err
		}
	}
	_ = c.server.Shutdown(context.Background())
	<-served
	return nil
}

// serve answers requests.
func (c *lyingChild) serve(served chan<- error) error {
	fd, err := unix.FcntlInt(uintptr(c.listeners[0].FD), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return err
	}
	l, err := listenerOf(fd)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	mux.HandleFunc("GET /slow", func(_ http.ResponseWriter, r *http.Request) {
		ms, _ := strconv.Atoi(r.URL.Query().Get("ms"))
		<-time.After(time.Duration(ms) * time.Millisecond)
	})
	c.server.Handler = mux
	go func() { served <- c.server.Serve(l) }() // joined by runLiar
	return nil
}

// hears listens to the supervisor until it is gone; false if it says that this
// is the end.
func (c *lyingChild) hears(conn *fdpass.Conn) bool {
	for {
		m, fds, err := conn.Receive()
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
		if err != nil {
			return true
		}
		if drain, ok := m.(fdpass.Drain); ok {
			_ = conn.Send(fdpass.Drained{ID: drain.ID})
			return false
		}
	}
}

func (c *lyingChild) truth() fdpass.Rejoin {
	return fdpass.Rejoin{Service: c.welcome.Service, Generation: c.welcome.Generation, Token: c.welcome.Token, Ready: true}
}

// lies tells one lie after the other, none of which may be believed.
func (c *lyingChild) lies() error {
	for name, change := range map[string]func(*fdpass.Rejoin){
		"another token":      func(r *fdpass.Rejoin) { r.Token = "00000000000000000000000000000000" },
		"no token":           func(r *fdpass.Rejoin) { r.Token = "" },
		"another generation": func(r *fdpass.Rejoin) { r.Generation++ },
		"another service":    func(r *fdpass.Rejoin) { r.Service = "db" },
	} {
		r := c.truth()
		change(&r)
		conn, err := c.back(r, c.listeners)
		if err == nil {
			_ = conn.Close()
			err = errors.New("it is believed")
		}
		fmt.Printf("liar: %s: %v\n", name, err)
	}
	return c.anotherCookie()
}

// anotherCookie says that the socket which it gives back is another one.
func (c *lyingChild) anotherCookie() error {
	r := c.truth()
	r.Protocol, r.PID, r.Listeners = fdpass.Protocol, os.Getpid(), 1
	l := c.listeners[0]
	l.Cookie += 1000
	for {
		conn := c.dial()
		err := errors.Join(conn.Send(r), conn.Send(fdpass.Listeners{Batch: 1, Of: 1, Listeners: []fdpass.Listener{l}}, l.FD))
		if err == nil {
			err = answerTo(conn)
		}
		_ = conn.Close()
		if busy(err) {
			<-time.After(5 * time.Millisecond)
			continue
		}
		fmt.Println("liar: another cookie:", err)
		return nil
	}
}

// answerTo is what the supervisor has against what it was told.
func answerTo(conn *fdpass.Conn) error {
	for {
		switch m, _, err := conn.Receive(); m := m.(type) {
		case nil:
			return err
		case fdpass.Error:
			return errors.New(m.Reason)
		case fdpass.Welcome:
			return errors.New("it is believed")
		}
	}
}

// anotherSocket gives another socket back, and returns when the supervisor is
// gone to which it did.
func (c *lyingChild) anotherSocket() error {
	var plain net.ListenConfig
	plain.SetMultipathTCP(false) // as those of a supervisor are
	l, err := plain.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	fd, err := descriptorOf(l)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	other, err := fdpass.Describe(c.listeners[0].Name, fd)
	if err != nil {
		return err
	}
	conn, err := c.back(c.truth(), []fdpass.Listener{other})
	if err != nil {
		return err
	}
	defer conn.Close()
	c.hears(conn)
	return nil
}

// back comes back to the supervisor that is there next. It comes again where the
// one before was not done with it.
func (c *lyingChild) back(r fdpass.Rejoin, ls []fdpass.Listener) (*fdpass.Conn, error) {
	for {
		conn := c.dial()
		_, err := fdpass.GiveBack(conn, r, ls)
		if err == nil {
			return conn, nil
		}
		_ = conn.Close()
		if !busy(err) {
			return nil, err
		}
		<-time.After(5 * time.Millisecond)
	}
}

// busy tells that the supervisor has not looked at what was said.
func busy(err error) bool {
	for _, why := range []error{io.EOF, syscall.EPIPE, syscall.ECONNRESET} {
		if errors.Is(err, why) {
			return true
		}
	}
	return strings.Contains(err.Error(), "is coming back already")
}

// dial connects to the supervisor that is there next.
func (c *lyingChild) dial() *fdpass.Conn {
	for {
		conn, err := fdpass.DialRendezvous(c.welcome.Rendezvous)
		if err == nil {
			return conn
		}
		<-time.After(5 * time.Millisecond)
	}
}
