package main

import (
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/internal/load"
	"example.com/supervisor/internal/numbers"
	"example.com/supervisor/upgrade"
	"golang.org/x/sys/unix"
)

const (
	// killsEnv says how many kills TestFiftyKills makes, seedEnv from what they
	// are drawn: a run prints it, and another one with it draws the same.
	killsEnv = "SUPERVISOR_TEST_KILLS"
	seedEnv  = "SUPERVISOR_TEST_SEED"
	// fewKills are those of an ordinary go test.
	fewKills = 12
)

// TestFiftyKills kills supervisors with SIGKILL at random moments of random
// deeds, and some of their successors while these gather the generations, all
// under load. No request fails; after every kill there is one supervisor and the
// right generation; whoever waits for a verdict is told a definite one; at the
// end nothing is left. One half is for a supervisor that a shell loop starts
// again, which gets its listener back from its generations; the other for one
// whose listener a socket unit holds, and whose generations crash too.
func TestFiftyKills(t *testing.T) {
	t.Parallel()
	count := numbers.FromEnv(t, killsEnv, fewKills)
	seed := numbers.FromEnv(t, seedEnv, uint64(time.Now().UnixNano())%1e6)
	t.Logf("%d kills, drawn from %s=%d", count, seedEnv, seed)
	program := misbehaveIn(t)
	t.Run("shell loop", func(t *testing.T) {
		t.Parallel()
		l := mortal(t, program, "http=tcp://127.0.0.1:0")
		address := l.outlives(drawKills(seed, (count+1)/2, uncrashed(program)))
		conn, err := net.Dial("tcp", address)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("to connect afterwards gives %v, want %v", err, syscall.ECONNREFUSED)
		}
		if err == nil {
			_ = conn.Close()
		}
	})
	t.Run("socket unit", func(t *testing.T) {
		t.Parallel()
		l := mortal(t, program, "http=systemd")
		l.held = holdSocket(t)
		l.outlives(drawKills(seed+1, count/2, append(uncrashed(program), deed{name: "a crash", kind: crashes})))
	})
}

// holdSocket opens a listener that lives as long as the test. It blocks: of one
// that does not, exec.Cmd would change that under the generations.
func holdSocket(t *testing.T) *os.File {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "listener")
	t.Cleanup(func() { _ = f.Close() })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 4096)); err != nil {
		t.Fatal(err)
	}
	return f
}

// A victim is a lineage whose supervisors are killed.
type victim struct {
	*lineage
	program  string
	status   upgrade.Status // before the present kill
	run      *load.Run
	requests uint64
	verdicts map[upgrade.Verdict]int
}

// mortal has short phases.
func mortal(t *testing.T, program, listen string) *victim {
	t.Helper()
	l := conceive(t, []string{program}, "--listen", listen, "--overlap", "30ms", "--settle", "30ms", "--bake", "250ms", "--gate-timeout", "1s",
		"--probe", "/", "--probe-interval", "20ms", "--probe-failures", "1", "--backoff-min", "10ms",
		"--backoff-max", "50ms", "--stable-after", "100ms")
	return &victim{lineage: l, program: program, verdicts: map[upgrade.Verdict]int{}}
}

// outlives has the supervisor start and all the kills happen. It returns the
// address of the service.
func (v *victim) outlives(all []kill) (address string) {
	v.Helper()
	v.start()
	v.status = v.serves()
	v.begin()
	for i, k := range all {
		v.Logf("kill %d: %v", i+1, k)
		v.suffer(k)
		v.answered(v.run, 5)
		if v.run.Snapshot().Failed > 0 || v.Failed() {
			v.finish()
			v.FailNow()
		}
	}
	v.upgradesOn(v.program)
	v.finish()
	v.Logf("%d requests, none of which failed; verdicts: %v", v.requests, v.verdicts)
	v.stop()
	return v.status.Listeners[0].Address
}

// begin begins the load, and finish ends it: no request of it may have failed.
func (v *victim) begin() { v.run = v.traffic("http://" + v.status.Listeners[0].Address) }

func (v *victim) finish() {
	v.Helper()
	report := v.run.Stop()
	v.requests += report.Requests
	for _, t := range report.Traffic {
		if t.Failed > 0 {
			v.Errorf("%s: %d of %d requests failed: %+v", t.Name, t.Failed, t.Requests, t.Failures)
		}
	}
}

// suffer has one kill happen, and looks at what has come of it.
func (v *victim) suffer(k kill) {
	v.Helper()
	waiting := v.approach(k)
	pause(k.delay)
	v.kill()
	pause(k.absent)
	v.start()
	for _, again := range k.again {
		if again.gathering {
			v.gathers()
		}
		pause(again.delay)
		v.succeed()
	}
	after := v.serves()
	for _, w := range waiting {
		v.told(w, k.deed, after)
	}
	v.rightful(k.deed, waiting, after)
	v.status = after
}

// approach does what a kill is to interrupt, and returns at the moment for it,
// with those who wait for an answer.
func (v *victim) approach(k kill) (waiting []*plea) {
	v.Helper()
	switch k.deed.kind {
	case upgrades, rollsBack:
		p := v.plead(k.deed)
		p.reaches(k.phase)
		return []*plea{p}
	case drains, drainsReplaced:
		p := v.plead(k.deed)
		v.poll("a drain", func() bool {
			s, err := v.client.Status(v.Context())
			return err == nil && slices.ContainsFunc(s.Generations, isDraining) || p.over()
		}, func() any { return p.report })
		waiting = []*plea{p}
		if k.deed.kind == drainsReplaced {
			waiting = append(waiting, v.plead(deed{kind: replaces}))
		}
	case replaces:
		waiting = []*plea{v.plead(k.deed)}
	case crashes:
		v.answered(v.run, 5)
		v.finish() // a crash loses what the generation had accepted
		signalTo(v, v.status.Generations[0].PID, syscall.SIGKILL)
		v.begin()
	}
	return waiting
}

func isDraining(g upgrade.GenerationStatus) bool { return g.Role == upgrade.RoleDraining }

// gathers waits until the supervisor that was started last looks for its
// generations.
func (v *victim) gathers() {
	v.Helper()
	last := v.logged()
	v.poll("a supervisor that gathers", func() bool {
		return strings.Contains(strings.TrimPrefix(v.logged(), last), "looking for its generations")
	}, func() any { return nil })
}

func pause(d time.Duration) { <-time.After(d) }
