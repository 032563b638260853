package chaos

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/internal/leaktest"
	"example.com/supervisor/internal/numbers"
	"example.com/supervisor/internal/rig"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m, nil)) }

const (
	// seedEnv is from what scripts are drawn: a run prints it, and another one with
	// it draws the same. stepsEnv is how long they are.
	seedEnv  = "SUPERVISOR_TEST_SEED"
	stepsEnv = "SUPERVISOR_TEST_STEPS"
	// fewSteps are those of an ordinary go test.
	fewSteps = 8
)

// TestChaos plays what a seed draws, with clients who count what they lose. After
// each step there is one supervisor, which rests, and one generation, of the release
// that was committed last; whoever asked was told once, and the truth; and only those
// requests have failed that a generation had in hand when it was killed, or crashed.
// At the end nothing has grown, and nothing is left.
func TestChaos(t *testing.T) {
	t.Parallel()
	seed, steps := numbers.FromEnv(t, seedEnv, uint64(time.Now().UnixNano())%1e6), numbers.FromEnv(t, stepsEnv, fewSteps)
	t.Logf("%s=%d, %d steps", seedEnv, seed, steps)
	binary, program := rig.Build(t, rig.Command), rig.Build(t, "example.com/supervisor/examples/misbehave")
	for _, w := range []world{shellLoop, socketUnit} {
		t.Run(string(w), func(t *testing.T) {
			t.Parallel()
			script, at := draw(seed, w, int(steps)), 0
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("%s", replay(seed, w, script[:min(at+1, len(script))]))
				}
			})
			p := open(t, w, binary, program)
			before := p.Descriptors()
			for i, s := range script {
				at = i
				t.Logf("step %d of %d:\n%v", i+1, len(script), s)
				p.play(s)
				p.rest()
				p.rescue(i + 1)
			}
			at = len(script)
			p.close(before)
		})
	}
}

// replay says what was played, the last step being the one that failed, and how to
// play it again.
func replay(seed uint64, w world, played []step) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s, the script of seed %d until it failed:\n", w, seed)
	for i, s := range played {
		mark := "  "
		if i == len(played)-1 {
			mark = "> "
		}
		fmt.Fprintf(&text, "%s%s\n", mark, strings.ReplaceAll(s.String(), "\n", "\n"+mark))
	}
	fmt.Fprintf(&text, "to play it again: make chaos SEED=%d STEPS=%d WORLD='%s'", seed, len(played), w)
	return text.String()
}

// open starts a supervisor in a folder of its own, and the clients.
func open(t testing.TB, w world, binary, program string) *player {
	t.Helper()
	address := rig.FreeAddress(t) // one that the kernel chose would be lost if a generation shut the listener down
	p := &player{site: site{tb: t, world: w, dir: rig.Folder(t), base: []string{"http=tcp://" + address}}}
	config := rig.Config{Binary: binary, Dir: p.dir, Flags: []string{"--config", p.config(), "--log-level", "debug"}}
	if w == socketUnit {
		p.base = []string{"http=systemd"}
		config.Sockets = map[string]*os.File{"http": holdSocket(t, address)}
	}
	p.builds = []string{copyOf(t, program, filepath.Join(p.dir, "one")), copyOf(t, program, filepath.Join(p.dir, "other"))}
	p.configure(p.base, "")
	config.Program = p.release(act{note: "0"})
	p.Supervisor = rig.Start(t, config)
	p.coroner = attend(t, p.Log, p.PID())
	status := p.calm()
	p.ledger = ledger{
		active: releaseOf(status.Generations[0].Release), generation: 1, highest: 1,
		processes: map[int]int{1: status.Generations[0].PID},
	}
	p.traffic = begin(t, status.Listeners[0].Address)
	return p
}

// copyOf makes a copy of a program, which is another build by its file.
func copyOf(t testing.TB, program, file string) string {
	t.Helper()
	text, err := os.ReadFile(program)
	if err == nil {
		err = os.WriteFile(file, text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// close brings all to what it was at first, compares, and stops.
func (p *player) close(before int) {
	p.Helper()
	p.configure(p.base, "")
	for _, note := range []string{"end.1", "end.2"} { // so that what rollback would start is an ordinary release too
		p.play(step{{deed: deed{kind: upgrades, protocol: "native"}, note: note}})
		p.rest()
	}
	after := 0
	p.Poll("as many descriptors as at first", func() bool {
		after = p.Descriptors()
		return after <= before+2 // the previous release's file, and whoever asks
	}, func() any { return fmt.Sprintf("%d, and %d at first", after, before) })
	report := p.traffic.run.Stop()
	p.losses()
	p.Logf("%d requests, %d failed with their generation; %d generations; descriptors: %d, %d at first",
		report.Requests, report.Failed, p.ledger.highest, after, before)
	p.Stop()
	if left := p.Left(); len(left) > 0 {
		p.Errorf("left: %q", left)
	}
	if p.world == shellLoop {
		conn, err := net.Dial("tcp", p.traffic.target)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			p.Errorf("to connect afterwards gives %v, want %v", err, syscall.ECONNREFUSED)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
}
