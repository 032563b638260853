package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"time"
)

// roleVariable names the file of the role that this binary plays.
const roleVariable = "SERVICE_TEST_ROLE"

// A role is what a program does that stands alone. It is read at each start, so
// that the next process of an upgrade may be of another release.
type role struct {
	Listen  []string
	Mood    string
	Timeout time.Duration // Config.UpgradeTimeout
	PIDFile string
	Without bool // Config.WithoutUpgrade
}

// The moods of a role, all of them bad.
const (
	exits   = "exits"   // before it is ready
	hangs   = "hangs"   // and is never ready
	accepts = "accepts" // as soon as it can, and exits with what it has accepted
	fails   = "fails"   // says why, and exits
)

// play plays the role of a program.
func play(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var r role
	if err := json.Unmarshal(text, &r); err != nil {
		return err
	}
	s, err := Join(Config{
		Listen: r.Listen, UpgradeTimeout: r.Timeout, PIDFile: r.PIDFile, WithoutUpgrade: r.Without,
		Logger:       slog.New(slog.NewTextHandler(os.Stderr, nil)),
		DrainTimeout: 20 * time.Second, // not less: a starved client is no idle one
	})
	if err != nil {
		return err
	}
	for _, e := range s.endpoints {
		if err := serveAs(s, e); err != nil {
			return err
		}
	}
	switch r.Mood {
	case exits:
		os.Exit(7)
	case hangs:
		<-s.Draining()
	case fails:
		s.Fail(errors.New("the disk is on fire"))
		os.Exit(7)
	case accepts:
		l, err := s.Listener("http")
		if err != nil {
			return err
		}
		go func() { // ends with the process
			_, _ = l.Accept()
			fmt.Fprintln(os.Stderr, "ACCEPTED BEFORE READY")
		}()
		<-time.After(300 * time.Millisecond)
		os.Exit(7)
	}
	return s.Run(context.Background())
}

func serveAs(s *Service, e *endpoint) error {
	if e.packets == nil {
		return s.ServeHTTP(e.name, &http.Server{Handler: http.HandlerFunc(tellPID)})
	}
	c, err := s.PacketConn(e.name)
	if err != nil {
		return err
	}
	go func() { // ends with the service
		defer c.Close()
		b := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(append(b[:n:n], " "+strconv.Itoa(os.Getpid())...), from)
		}
	}()
	return nil
}

// tellPID also tells what a program that this one starts would find.
func tellPID(w http.ResponseWriter, _ *http.Request) {
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", hasParent} {
		if _, ok := os.LookupEnv(name); ok {
			http.Error(w, name+" is left", http.StatusInternalServerError)
			return
		}
	}
	w.Header().Set("X-Generation", strconv.Itoa(os.Getpid()))
	fmt.Fprintln(w, os.Getpid())
}
