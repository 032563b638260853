package main

import (
	"flag"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/supervisor/service"
)

// listenerFaults are the ways of being bad to the listener.
type listenerFaults struct {
	stopAfter   int64
	slowAccept  time.Duration
	shutdown    bool
	setBlocking bool
}

func (f *listenerFaults) flags() {
	flag.Int64Var(&f.stopAfter, "stop-accepting-after", 0, "accept this many connections and no more")
	flag.DurationVar(&f.slowAccept, "slow-accept", 0, "time that each accept takes")
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
	if f.stopAfter == 0 && f.slowAccept == 0 {
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

// badListener accepts slowly, or not for long.
type badListener struct {
	net.Listener
	faults   *listenerFaults
	accepted atomic.Int64
}

func (l *badListener) Accept() (net.Conn, error) {
	time.Sleep(l.faults.slowAccept)
	if most := l.faults.stopAfter; most > 0 && l.accepted.Load() >= most {
		hang()
	}
	l.accepted.Add(1)
	return l.Listener.Accept()
}
