package scale

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"example.com/supervisor/internal/rig"
	"example.com/supervisor/upgrade"
)

// crowd is the service.
const crowd = "example.com/supervisor/internal/scale/crowd"

// A supervised is the service under a supervisor that is asked over its socket: a
// command for each of ten upgrades in a second would take more of the machine than
// these do.
type supervised struct {
	*rig.Supervisor
	client *http.Client
}

// programs are built once for a test.
type programs struct{ supervisor, crowd string }

func build(tb testing.TB) programs {
	tb.Helper()
	return programs{supervisor: rig.Build(tb, rig.Command), crowd: rig.Build(tb, crowd)}
}

// start starts the service with these listeners.
func (p programs) start(tb testing.TB, listen []string, flags ...string) *supervised {
	tb.Helper()
	for _, l := range listen {
		flags = append(flags, "--listen", l)
	}
	s := &supervised{}
	dir := rig.Folder(tb)
	s.client = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", s.Socket())
		},
	}}
	tb.Cleanup(s.client.CloseIdleConnections)
	s.Supervisor = rig.Start(tb, rig.Config{Binary: p.supervisor, Dir: dir, Flags: flags, Program: []string{p.crowd}})
	return s
}

// status is as the control socket tells it.
func (s *supervised) status() (st upgrade.Status) {
	s.Helper()
	answer, err := s.client.Get("http://web/v1/status")
	if err != nil {
		s.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&st); err != nil {
		s.Fatal(err)
	}
	return st
}

// alone waits until one generation is left, and returns the status.
func (s *supervised) alone() (st upgrade.Status) {
	s.Helper()
	s.Poll("one generation", func() bool {
		st = s.status()
		return st.Phase == upgrade.PhaseIdle && len(st.Generations) == 1 && st.Generations[0].Role == upgrade.RoleActive
	}, func() any { return st })
	return st
}

// address is where a listener is.
func address(st upgrade.Status, name string) string {
	for _, l := range st.Listeners {
		if l.Name == name {
			return l.Address
		}
	}
	return ""
}

// An attempt is how one upgrade went, as the supervisor timed it.
type attempt struct {
	upgrade.Report
	at     time.Time
	ready  time.Duration // from the request to the candidate's ready
	pause  time.Duration // from the order to pause to the answer
	commit time.Duration // from the request to the verdict
}

// upgrade upgrades to the same program. step, if not nil, is called for each step
// as it is read.
func (s *supervised) upgrade(step func(upgrade.Step)) (a attempt, err error) {
	a.at = time.Now()
	answer, err := s.client.Post("http://web/v1/upgrade", "application/json", bytes.NewReader(nil))
	if err != nil {
		return a, fmt.Errorf("cannot ask for an upgrade: %w", err)
	}
	defer answer.Body.Close()
	var told time.Duration // to pause
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var line struct {
			Step   *upgrade.Step
			Report *upgrade.Report
			Error  string
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return a, err
		}
		switch {
		case line.Report != nil:
			a.Report = *line.Report
		case line.Step == nil:
			return a, fmt.Errorf("the upgrade was lost: %s", line.Error)
		default:
			a.take(*line.Step, &told)
			if step != nil {
				step(*line.Step)
			}
		}
	}
	a.commit = seconds(a.DurationSeconds)
	return a, lines.Err()
}

func (a *attempt) take(s upgrade.Step, told *time.Duration) {
	at := seconds(s.ElapsedSeconds)
	switch {
	case s.Phase == upgrade.PhaseReady:
		a.ready = at
	case s.Phase == upgrade.PhaseCutOver && *told == 0:
		*told = at
	case s.Phase == upgrade.PhaseCutOver:
		a.pause = at - *told
	}
}

// commits is upgrade where nothing speaks against it.
func (s *supervised) commits(step func(upgrade.Step)) attempt {
	s.Helper()
	a, err := s.upgrade(step)
	if err != nil || a.Verdict != upgrade.Committed {
		s.Fatalf("%s: %s (%v)", a.Verdict, a.Reason, err)
	}
	return a
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
