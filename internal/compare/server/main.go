// Server is the service whose versions internal/compare replaces, one after the
// other: the same handlers, the same time to start up and the same faults, whoever
// replaces it. How it comes to its listener and how it ends is what -by says:
//
//	supervised   package service, below a supervisor
//	tableflip    github.com/cloudflare/tableflip, as its example for net/http has it
//	systemd      a socket unit and Type=notify, by github.com/coreos/go-systemd
//	reuseport    a listener of its own, with SO_REUSEPORT
//	plain        a listener of its own: what stands behind a proxy
//
// All but the first end by http.Server.Shutdown.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// A way is how the service comes to its listener and how it ends.
type way func(options, settings) error

// options are what the command line says: the same for all versions.
type options struct {
	address  string
	pidFile  string        // written when the service is ready; "": none
	patience time.Duration // for the next version's start-up, of tableflip
}

func main() {
	var o options
	path := flag.String("settings", "", "`FILE` that says which version this is")
	by := flag.String("by", "plain", "`WAY` of being replaced: supervised, tableflip, systemd, reuseport or plain")
	flag.StringVar(&o.address, "listen", "127.0.0.1:8080", "`ADDRESS` to listen at")
	flag.StringVar(&o.pidFile, "pid-file", "", "`FILE` for the process's number, once it is ready")
	flag.DurationVar(&o.patience, "patience", time.Minute, "`TIME` that the next version may take to start, for tableflip")
	flag.Parse()
	if err := run(*path, *by, o); err != nil {
		log.Fatalf("error: %v", err)
	}
}

func run(path, by string, o options) error {
	ways := map[string]way{"supervised": supervised, "tableflip": flipped, "systemd": activated, "reuseport": reusing, "plain": plain}
	begin, ok := ways[by]
	if !ok {
		return fmt.Errorf("unknown way of being replaced: %q", by)
	}
	s, err := readSettings(path)
	if err != nil {
		return err
	}
	time.Sleep(s.startUp())
	if err := s.atStart(); err != nil {
		return err
	}
	return begin(o, s)
}

// shutdownTime is how long what is under way may take when the service ends.
const shutdownTime = 15 * time.Second

// serveUntil serves until end is closed, and then what is under way.
func serveUntil(end <-chan struct{}, l net.Listener, s settings, ready func() error) error {
	server := &http.Server{Handler: s.handler()}
	serving := make(chan error, 1)
	go func() { serving <- server.Serve(s.around(l)) }() // joined below
	if err := ready(); err != nil {
		return err
	}
	s.afterReady()
	select {
	case err := <-serving:
		return err
	case <-end:
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return err
	}
	if err := <-serving; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// terminated is closed at SIGTERM.
func terminated() <-chan struct{} {
	ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM) // for as long as the process lives
	return ctx.Done()
}

// sayReady writes the file with the process's number, all at once.
func (o options) sayReady() error {
	if o.pidFile == "" {
		return nil
	}
	next := fmt.Sprintf("%s.%d", o.pidFile, os.Getpid())
	if err := os.WriteFile(next, []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil {
		return err
	}
	return os.Rename(next, o.pidFile)
}
