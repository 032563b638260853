package programs

import (
	"math"
	"os"
	"strconv"
	"testing"
	"time"

	"example.com/supervisor/internal/load"
	"example.com/supervisor/internal/rig"
	"example.com/supervisor/upgrade"
)

// upgradesEnv is the variable that says how often each program is upgraded.
const upgradesEnv = "SUPERVISOR_TEST_UPGRADES"

// upgrades is how often, and whether that was said.
func upgrades(t *testing.T) (n int, said bool) {
	t.Helper()
	text := os.Getenv(upgradesEnv)
	if text == "" {
		return 10, false
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s is no number of upgrades", upgradesEnv, text)
	}
	return n, true
}

// TestPrograms upgrades each program under load. What is lost is what its own
// stop loses, which is counted beside it: the same program, as often stopped while
// another one of it accepts on the same listener.
func TestPrograms(t *testing.T) {
	t.Parallel()
	n, said := upgrades(t)
	binary := rig.Build(t, rig.Command)
	figures := &table{upgrades: n}
	t.Cleanup(func() { t.Logf("\n%s", figures) })
	for _, p := range programs() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s := p.prepare(t)
			ours := s.upgraded(binary, n)
			if !said && p.loses == "" && lostOf(ours) > 0 {
				// On a busy machine about one run in a hundred has one, of which it is not
				// known whose it is. What loses by its nature does so again.
				t.Logf("once more, because of %d requests: %s", ours.Requests, failures(ours))
				ours = p.prepare(t).upgraded(binary, n)
			}
			row := row{program: p, ours: ours}
			if p.graceful != 0 && (said || p.loses != "" && ours.Failed > 0) {
				theirs := s.replaced(n)
				row.theirs = &theirs
			}
			figures.add(row)
			judge(t, p, ours, row.theirs)
		})
	}
}

// judge compares what failed.
func judge(t *testing.T, p program, ours load.Report, theirs *load.Report) {
	t.Helper()
	t.Logf("%d requests, %d failed: %s", ours.Requests, ours.Failed, failures(ours))
	if theirs != nil {
		t.Logf("by its own means %d requests, %d failed: %s", theirs.Requests, theirs.Failed, failures(*theirs))
	}
	for i, traffic := range ours.Traffic {
		failed, own := lost(traffic), uint64(0)
		if theirs != nil {
			own = lost(theirs.Traffic[i])
		}
		switch {
		case traffic.OK == 0:
			t.Errorf("no request was answered: %s", failures(ours))
		case p.loses == "" && failed > 0:
			t.Errorf("%s: %d of %d requests failed: %s", traffic.Name, failed, traffic.Requests, failures(ours))
		case worse(failed, own):
			t.Errorf("%s: %d of %d requests failed, and %d when it is stopped by its own means: %s", traffic.Name, failed, traffic.Requests, own, failures(ours))
		}
	}
}

// lostOf is how many of all requests were lost.
func lostOf(r load.Report) (n uint64) {
	for _, traffic := range r.Traffic {
		n += lost(traffic)
	}
	return n
}

// lost is how many requests failed, but for those that were not even sent because
// the machine is too busy.
func lost(t load.TrafficReport) uint64 {
	n := t.Failed
	for _, f := range t.Failures {
		if f.Kind == load.Overload {
			n -= f.Count
		}
	}
	return n
}

// worse reports whether ours is so much more than theirs that it cannot be
// chance. The difference of two counts of the same rare thing varies with the root
// of their sum, and one stop may take several requests with it.
func worse(ours, theirs uint64) bool {
	const atOnce, deviations = 3, 5
	return float64(ours)-float64(theirs) > deviations*math.Sqrt(float64(ours+theirs))+atOnce
}

// upgraded runs the program below a supervisor, upgrades it so often under load,
// and stops it.
func (s *site) upgraded(binary string, n int) load.Report {
	s.Helper()
	u := s.supervise(binary)
	run := s.load()
	answered(s, run, 20)
	for range n {
		u.Commits()
		answered(s, run, 5)
	}
	report := run.Stop()
	if got := rig.Active(u.Await("one generation", func(st upgrade.Status) bool { return len(st.Generations) == 1 })); got != n+1 {
		s.Errorf("generation %d is active, want %d", got, n+1)
	}
	u.Stop()
	return report
}

// replaced runs the program without a supervisor and replaces it so often under
// the same load, by its own means.
func (s *site) replaced(n int) load.Report {
	s.Helper()
	a := s.alone()
	old := a.start()
	run := s.load()
	answered(s, run, 20)
	for range n {
		next := a.start()
		<-time.After(20 * time.Millisecond) // as under the supervisor, to settle
		a.stop(old)
		old = next
		answered(s, run, 5)
	}
	report := run.Stop()
	a.stop(old)
	return report
}
