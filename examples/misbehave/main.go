// Misbehave is a small HTTP service with a flag for every way in which a
// candidate can be bad. It shows what a supervisor must survive, and the tests
// of the supervisor run it.
//
// Without flags it behaves. It answers
//
//	POST /echo             with the body of the request
//	GET  /slow?ms=N        after N milliseconds
//	GET  /                 with its generation, pid and version
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"example.com/supervisor/service"
)

// options are the flags; docs are in parse.
type options struct {
	version         string
	startDelay      time.Duration
	exitBeforeHello int
	panics          bool
	hangBeforeHello bool
	hangBeforeReady bool
	crashUnready    bool
	neverReady      bool
	readyThenExit   bool
	fail            string
	failAfter       time.Duration
	crashAfter      time.Duration
	unhealthy       bool
	unhealthyAfter  time.Duration
	ignoreTerm      bool
	grandchild      bool
	handlers        handlerFaults
	listener        listenerFaults
	lies            lies
}

func parse() options {
	var o options
	flag.StringVar(&o.version, "version", "dev", "the version that / shows")
	flag.DurationVar(&o.startDelay, "start-delay", 0, "time that it takes to start")
	flag.IntVar(&o.exitBeforeHello, "exit-before-hello", -1, "exit with this `status` before saying anything")
	flag.BoolVar(&o.panics, "panic", false, "panic before saying anything")
	flag.BoolVar(&o.hangBeforeHello, "hang-before-hello", false, "hang before saying anything")
	flag.BoolVar(&o.hangBeforeReady, "hang-before-ready", false, "take the listeners, then hang")
	flag.BoolVar(&o.crashUnready, "crash-before-ready", false, "take the listeners, then exit with status 1")
	flag.BoolVar(&o.neverReady, "never-ready", false, "take the listeners and answer the supervisor, but never say ready")
	flag.BoolVar(&o.readyThenExit, "ready-then-exit", false, "say ready and exit with status 1 at once")
	flag.StringVar(&o.fail, "fail", "", "say failed with this `reason` instead of ready")
	flag.DurationVar(&o.failAfter, "fail-after", 0, "say failed this long after ready")
	flag.DurationVar(&o.crashAfter, "crash-after", 0, "exit with status 1 this long after ready")
	flag.BoolVar(&o.unhealthy, "unhealthy", false, "answer probes with status 503")
	flag.DurationVar(&o.unhealthyAfter, "unhealthy-after", 0, "answer probes with status 503 this long after ready")
	flag.BoolVar(&o.ignoreTerm, "ignore-term", false, "ignore SIGTERM")
	flag.BoolVar(&o.grandchild, "grandchild", false, "leave a child process behind (it ends by itself after a minute)")
	o.handlers.flags()
	o.listener.flags()
	o.lies.flags()
	flag.Parse()
	return o
}

func main() {
	o := parse()
	if err := run(o); err != nil {
		log.Fatalf("error: %v", err)
	}
}

func run(o options) error {
	if o.ignoreTerm {
		signal.Ignore(syscall.SIGTERM)
	}
	beforeHello(o)
	if err := o.lies.begin(); err != nil {
		return err
	}
	svc, err := service.Join(service.Config{Listen: []string{"http=tcp://127.0.0.1:8080"}})
	if err != nil {
		return err
	}
	if err := beforeReady(o, svc); err != nil {
		return err
	}
	server := &http.Server{Handler: o.handlers.around(handler(svc, o.version))}
	if err := o.listener.serve(svc, server); err != nil {
		return err
	}
	started := time.Now()
	svc.HandleHealth(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if o.unhealthy || o.unhealthyAfter > 0 && time.Since(started) > o.unhealthyAfter {
			http.Error(w, "not well, as asked", http.StatusServiceUnavailable)
		}
	}))
	after(o.failAfter, func() { svc.Fail(errors.New("failed, as asked")) })
	after(o.crashAfter, func() { os.Exit(1) })
	if o.ignoreTerm {
		go ignoreTermAgain() // ends with the process
	}
	return svc.Run(context.Background())
}

// after calls f after d, if d is set.
func after(d time.Duration, f func()) {
	if d > 0 {
		time.AfterFunc(d, f)
	}
}

// ignoreTermAgain takes back what Run does about SIGTERM when it begins.
func ignoreTermAgain() {
	for range time.Tick(20 * time.Millisecond) {
		signal.Ignore(syscall.SIGTERM)
	}
}

func beforeHello(o options) {
	time.Sleep(o.startDelay)
	switch {
	case o.exitBeforeHello >= 0:
		os.Exit(o.exitBeforeHello)
	case o.panics:
		panic("as asked")
	case o.hangBeforeHello:
		hang()
	}
}

func beforeReady(o options, svc *service.Service) error {
	if o.grandchild {
		// It inherits standard output and error, and the process group.
		child := exec.Command("sleep", "60")
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		if err := child.Start(); err != nil {
			return err
		}
	}
	switch {
	case o.crashUnready:
		os.Exit(1)
	case o.hangBeforeReady:
		hang()
	case o.neverReady:
		// Join has begun to answer the supervisor; Run would say ready.
		<-svc.Draining()
		if o.ignoreTerm {
			hang()
		}
		os.Exit(0)
	case o.fail != "":
		svc.Fail(errors.New(o.fail))
		hang()
	case o.readyThenExit:
		_ = svc.Ready()
		os.Exit(1)
	}
	return nil
}

// hang does nothing until the process is killed, or for a minute.
func hang() {
	time.Sleep(time.Minute)
	os.Exit(1)
}

func handler(svc *service.Service, version string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	})
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
		ms, err := strconv.Atoi(r.URL.Query().Get("ms"))
		if err != nil || ms < 0 {
			http.Error(w, "ms must be a number of milliseconds", http.StatusBadRequest)
			return
		}
		time.Sleep(time.Duration(ms) * time.Millisecond)
		fmt.Fprintln(w, "slow")
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "generation %d, pid %d, version %s\n", svc.Generation(), os.Getpid(), version)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Generation", strconv.Itoa(svc.Generation()))
		select {
		case <-svc.Draining(): // for a server that accepts in its own, bad way
			w.Header().Set("Connection", "close")
		default:
		}
		mux.ServeHTTP(w, r)
	})
}
