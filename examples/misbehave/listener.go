package main

import (
	"flag"
	"net"
	"net/http"
	"syscall"
	"time"

	"example.com/supervisor/service"
)

// listenerFaults are the ways of being bad to the listener.
type listenerFaults struct {
	stopAfter   int64
	slowAccept  time.Duration
	stallAfter  time.Duration
	shutdown    bool
	setBlocking bool
}

func (f *listenerFaults) flags() {
	flag.Int64Var(&f.stopAfter, "stop-accepting-after", 0, "accept this many `connections` and no more")
	flag.DurationVar(&f.slowAccept, "slow-accept", 0, "time that each accept takes, one after the other")
	flag.DurationVar(&f.stallAfter, "stall-after", 0, "accept nothing more once this long has passed since the first connection")
	flag.BoolVar(&f.shutdown, "shutdown-listener", false, "call shutdown(2) on the shared listener")
	flag.BoolVar(&f.setBlocking, "set-blocking", false, "clear O_NONBLOCK of the shared listener")
}

// serve registers server with svc, and sabotages its accepting.
func (f *listenerFaults) serve(svc *service.Service, server *http.Server) error {
	if f.shutdown || f.setBlocking {
		if err := f.sabotage(svc); err != nil {
			return err
		}
	}
	if f.stopAfter == 0 && f.slowAccept == 0 && f.stallAfter == 0 {
		return svc.ServeHTTP("http", server)
	}
	// Every way of accepting through package service would be a good one: this
	// takes the listener for itself.
	l, err := svc.Listener("http")
	if err != nil {
		return err
	}
	go server.Serve(&badListener{Listener: l, faults: f}) // ends with the process
	return nil
}

func (f *listenerFaults) sabotage(svc *service.Service) error {
	l, err := svc.Listener("http")
	if err != nil {
		return err
	}
	raw, err := l.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) {
		if f.shutdown {
			_ = syscall.Shutdown(int(fd), syscall.SHUT_RDWR)
		}
		if f.setBlocking {
			_ = syscall.SetNonblock(int(fd), false)
		}
	})
}

// badListener accepts slowly, or not for long. Only the one loop of a server
// calls Accept. What was accepted is served well, and so are the probes: nothing
// but the accept queue shows that something is wrong.
type badListener struct {
	net.Listener
	faults   *listenerFaults
	accepted int64
	first    time.Time // when the first connection was accepted
}

func (l *badListener) Accept() (net.Conn, error) {
	time.Sleep(l.faults.slowAccept)
	if l.isStalled() {
		hang()
	}
	c, err := l.Listener.Accept()
	if err == nil {
		l.accepted++
		if l.first.IsZero() {
			l.first = time.Now()
		}
	}
	return c, err
}

func (l *badListener) isStalled() bool {
	most, after := l.faults.stopAfter, l.faults.stallAfter
	return most > 0 && l.accepted >= most || after > 0 && !l.first.IsZero() && time.Since(l.first) >= after
}
