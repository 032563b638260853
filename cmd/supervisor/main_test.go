package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/service"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes the test binary be the command, and a small service, for the
// scripts.
func TestMain(m *testing.M) {
	// A process with the race detector would wait a second before it exits.
	const atOnce = "atexit_sleep_ms=0 "
	if race := os.Getenv("GORACE"); !strings.HasPrefix(race, atOnce) { // a supervisor that was replaced begins here again
		if err := os.Setenv("GORACE", atOnce+race); err != nil {
			panic(err)
		}
	}
	testscript.Main(m, map[string]func(){
		"supervisor": main,
		"web":        web,
		"fetch":      fetch,
		"datagrams":  datagrams,
		"trio":       trio,
		"many":       many,
		"liar":       liar,
		"knock":      knock,
		"killer":     killer,
		"plain":      plain,
		// The next version of examples/tableflip, which the shim plays.
		"tableflip": main,
	})
}

// web is a service whose faults are flags.
func web() {
	var (
		say   = flag.String("say", "hello", "the `TEXT` to answer with")
		fail  = flag.String("fail", "", "say failed for this `REASON`")
		exit  = flag.Int("exit", 0, "exit with this `STATUS` instead of getting ready")
		hang  = flag.Bool("hang", false, "never get ready")
		sick  = flag.String("sick", "", "be unhealthy while `FILE` exists")
		spawn = flag.String("spawn", "", "have a child process write its environment to `FILE`")
		stuck = flag.Bool("stuck", false, "ignore the end of a drain")
	)
	flag.Parse()
	if *exit != 0 {
		fmt.Fprintln(os.Stderr, "web: cannot find its tables")
		os.Exit(*exit)
	}
	if *hang {
		select {}
	}
	s, err := service.Join(service.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Fprintln(os.Stderr, "web:", err)
		os.Exit(1)
	}
	if *spawn != "" {
		if err := exec.Command("sh", "-c", `env >"$0"`, *spawn).Run(); err != nil {
			s.Fail(err)
		}
	}
	if *fail != "" {
		s.Fail(errors.New(*fail))
	}
	if *stuck {
		s.OnCleanup("stuck", func(context.Context) error { select {} })
	}
	s.HandleHealth(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, err := os.Stat(*sick); err == nil {
			http.Error(w, "feels sick\nand dizzy", http.StatusInternalServerError)
		}
	}))
	if err := s.ServeHTTP(s.Names()[0], webServer(*say, s)); err != nil {
		fmt.Fprintln(os.Stderr, "web:", err)
		os.Exit(1)
	}
	if err := s.Run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "web:", err)
		os.Exit(1)
	}
}

// fetch prints the answer to a GET over a Unix socket.
func fetch() {
	if err := getTo(os.Stdout, os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "fetch:", err)
		os.Exit(1)
	}
}

// webServer answers / with say and what it sees of itself, and /slow after a
// time.
func webServer(say string, s *service.Service) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		dir, _ := os.Getwd()
		fmt.Fprintf(w, "%s from generation %d, dir %s, GREETING=%q, HOME=%q\n", say, s.Generation(), dir, os.Getenv("GREETING"), os.Getenv("HOME"))
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		wait, err := time.ParseDuration(r.URL.Query().Get("for"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-time.After(wait):
			fmt.Fprintln(w, say, "at last")
		case <-r.Context().Done():
		}
	})
	return &http.Server{Handler: mux}
}
