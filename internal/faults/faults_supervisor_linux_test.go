package faults

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/upgrade"
	"golang.org/x/sys/unix"
)

// stopTime is for how long a supervisor is stopped.
const stopTime = time.Second

// supervisorFaults are those of the supervisor and of what it needs.
func supervisorFaults() []fault {
	return []fault{
		{name: "the supervisor is killed (SIGKILL)", inject: func(s *scene) { s.succeed(s.Kill) }},
		{name: "the supervisor is stopped for a second (SIGSTOP)", inject: stopSupervisor,
			flags: []string{"--pause-timeout", "4s"}}, // or it takes the answer, which is held, for late
		{name: "the supervisor is out of descriptors",
			inject: func(s *scene) { s.limit(outOfDescriptors) }, undo: (*scene).takeBack},
		{name: "the supervisor is short of memory", inject: func(s *scene) { s.succeed(s.starve) }},
		{name: "the disk of the supervisor is full", notRun: needsMount, before: smallDisks, inject: fillDisks, undo: (*scene).takeBack,
			flags: []string{"--state-dir", "$DIR/state"}},
		{name: "the control socket is removed", inject: removeSocket},
	}
}

// succeed ends the supervisor, and starts the next one at once, as systemd or a
// shell loop does.
func (s *scene) succeed(end func()) {
	s.Helper()
	end()
	s.Launch()
}

func stopSupervisor(s *scene) {
	s.Helper()
	if err := unix.Kill(s.PID(), unix.SIGSTOP); err != nil {
		s.Fatal(err)
	}
	<-time.After(stopTime) // the time itself is what is wanted
	if err := unix.Kill(s.PID(), unix.SIGCONT); err != nil {
		s.Fatal(err)
	}
}

// limit limits the supervisor until takeBack.
func (s *scene) limit(how func(pid int) (back func() error, err error)) {
	s.Helper()
	var err error
	if s.back, err = how(s.PID()); err != nil {
		s.Fatal(err)
	}
}

// takeBack takes the fault back.
func (s *scene) takeBack() {
	s.Helper()
	if err := s.back(); err != nil {
		s.Fatal(err)
	}
}

const (
	// wants and wantsBytes are how many clients want how much of a supervisor at
	// once: more than it has spare, and no more than each may send.
	wants      = 64
	wantsBytes = 900 << 10
)

// starve leaves the supervisor no memory but what it has, and has it need more,
// until it ends of that: Go programs do (runtime: out of memory).
func (s *scene) starve() {
	s.Helper()
	s.limit(outOfMemory)
	ctx, cancel := context.WithCancel(s.Context())
	var clients sync.WaitGroup
	for range wants {
		clients.Go(func() {
			for ctx.Err() == nil {
				s.want(ctx)
			}
		})
	}
	s.Poll("the supervisor to end", func() bool { return s.Gone() != nil }, func() any { return nil })
	cancel()
	clients.Wait()
}

// want has the supervisor read a request that it refuses. An error is its end.
func (s *scene) want(ctx context.Context) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", s.Socket())
		}}}
	body := fmt.Sprintf(`{"reason":"%s"}`, strings.Repeat("x", wantsBytes))
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://web/v1/upgrade", strings.NewReader(body))
	if err != nil {
		return
	}
	if answer, err := client.Do(request); err == nil {
		_ = answer.Body.Close()
	}
}

// disks are the folders of a scene in which the supervisor writes.
var disks = [...]string{"run", "state"}

// needsMount says why there cannot be small file systems.
func needsMount() string {
	if os.Geteuid() != 0 {
		return "only root can mount a small file system"
	}
	return ""
}

// smallDisks gives the supervisor a small file system for its run directory and one
// for its history, until the test ends.
func smallDisks(tb testing.TB, s *scene) {
	tb.Helper()
	for _, name := range disks {
		dir := filepath.Join(s.dir, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			tb.Fatal(err)
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=512k,mode=0700"); err != nil {
			tb.Skipf("cannot mount a small file system here: %v", err)
		}
		tb.Cleanup(func() {
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
				tb.Errorf("a mount is left: %v", err)
			}
		})
	}
}

// fillDisks leaves no room on them. Without an upgrade under way one is asked for.
func fillDisks(s *scene) {
	s.Helper()
	var fillings []string
	for _, name := range disks {
		filling := filepath.Join(s.dir, name, "somebody's")
		f, err := os.Create(filling)
		if err != nil {
			s.Fatal(err)
		}
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		if closed := f.Close(); !errors.Is(err, syscall.ENOSPC) || closed != nil {
			s.Fatalf("the disk is not full: %v, %v", err, closed)
		}
		fillings = append(fillings, filling)
	}
	s.back = func() (err error) {
		for _, f := range fillings {
			err = errors.Join(err, os.Remove(f))
		}
		return err
	}
	s.askNow()
}

// askNow asks for the upgrade if there is none yet.
func (s *scene) askNow() {
	s.Helper()
	if s.passage.step == upgrade.PhaseIdle {
		s.attempt = s.Begin(s.asked()...)
	}
}

func removeSocket(s *scene) {
	s.Helper()
	if err := os.Remove(s.Socket()); err != nil {
		s.Fatal(err)
	}
}
