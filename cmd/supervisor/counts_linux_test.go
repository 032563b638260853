package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"example.com/supervisor/upgrade"
)

// opens opens connections to a service on which nothing is said; they are closed at
// the end, if not before.
func opens(l *lineage, network, address string, n int) (all []net.Conn) {
	l.Helper()
	for range n {
		conn, err := net.Dial(network, address)
		if err != nil {
			l.Fatal(err)
		}
		l.Cleanup(func() { conn.Close() })
		all = append(all, conn)
	}
	return all
}

func closes(all []net.Conn) {
	for _, conn := range all {
		conn.Close()
	}
}

// openAt waits until generation n is said to have so many connections.
func (l *lineage) openAt(n int, open int64) (g upgrade.GenerationStatus) {
	l.Helper()
	l.await(fmt.Sprintf("%d connections of generation %d", open, n), func(s upgrade.Status) bool {
		for _, g = range s.Generations {
			if g.Generation == n {
				return g.Active != nil && *g.Active == open
			}
		}
		return false
	})
	return g
}

// TestForeignConnectionsAreCounted: of programs that report nothing, status and
// metrics tell how many connections are open, those of each generation for itself,
// over TCP and Unix sockets, whichever of its processes has them.
func TestForeignConnectionsAreCounted(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"tcp4", "tcp6", "unix"} {
		for _, program := range [][]string{{"plain"}, {"plain", "-below"}} {
			t.Run(network+" "+strings.Join(program, " "), func(t *testing.T) {
				t.Parallel()
				listener := map[string]string{"tcp4": "tcp4://127.0.0.1:0", "tcp6": "tcp6://[::1]:0", "unix": "unix://$DIR/web.sock"}[network]
				l := found(t, program, "--listen", "http="+listener, "--protocol", "none", "--ready", "200ms", "--bake", "100ms", "--settle", "20ms")
				status := l.await("one active generation", func(s upgrade.Status) bool {
					return len(s.Generations) == 1 && s.Generations[0].Role == upgrade.RoleActive
				})
				address := status.Listeners[0].Address
				old := opens(l, network, address, 5)
				g := l.openAt(1, 5)
				if g.Accepted != nil || g.Program == 0 || g.Program == g.PID || !strings.HasPrefix(l.commandOf(g.Program), "plain") {
					t.Errorf("%+v: want the program, and no more than is known", g)
				}
				l.upgrade(program, false).verdict(upgrade.Committed, "")
				recent := opens(l, network, address, 2)
				l.openAt(2, 2)
				l.openAt(1, 5)
				if network == "tcp4" {
					l.wantMetric(`supervisor_connections{generation="1",listener="http"} 5`, true)
					l.wantMetric(`supervisor_connections{generation="2",listener="http"} 2`, true)
					l.wantMetric(`supervisor_connections_accepted_total`, false)
				}
				closes(old)
				l.await("the end of generation 1", func(s upgrade.Status) bool { return len(s.Generations) == 1 })
				closes(recent)
				l.openAt(2, 0)
				l.stop()
			})
		}
	}
}

// TestForeignDrainTellsWhatItCut: a drain ends when nothing is open, and says so; at
// its deadline, and where the program dies of the signal, it says what was.
func TestForeignDrainTellsWhatItCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		program []string
		flags   []string
		closes  bool
		cut     int
	}{
		{"all are finished", []string{"plain"}, nil, true, 0},
		{"deadline", []string{"plain"}, []string{"--drain-timeout", "500ms"}, false, 7},
		{"hears nothing", []string{"plain", "-stubborn"}, []string{"--drain-timeout", "500ms"}, false, 7},
		{"dies of the first signal", []string{"plain", "-dies"}, nil, false, 7},
		{"is told twice", []string{"plain", "-dies"}, []string{"--stop-schedule", "CONT/300ms/KILL"}, false, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l, _, target := speaks(t, "listen-fds", append(c.flags, "--stop-grace", "300ms", "--bake", "50ms")...)
			l.serves()
			l.upgrade(c.program, true).verdict(upgrade.Committed, "")
			conns := opens(l, "tcp", strings.TrimPrefix(target, "http://"), 7)
			l.openAt(2, 7)
			p := l.upgrade([]string{"plain"}, true)
			if c.closes {
				l.await("a drain", func(s upgrade.Status) bool {
					return s.Generations[0].Role == upgrade.RoleDraining && *s.Generations[0].Active == 7
				})
				closes(conns)
			}
			p.verdict(upgrade.Committed, "")
			if r := p.report; !r.Drained || r.CutUnknown || r.Cut != c.cut {
				t.Errorf("drained %t, %d were cut, unknown %t; want %d", r.Drained, r.Cut, r.CutUnknown, c.cut)
			}
			l.stop()
		})
	}
}

// commandOf is how a process was called.
func (l *lineage) commandOf(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		l.Error(err)
	}
	return string(text)
}

// wantMetric looks for a line that begins so.
func (l *lineage) wantMetric(line string, wanted bool) {
	l.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", l.socket()) }}}
	answer, err := client.Get("http://supervisor/metrics")
	if err != nil {
		l.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		l.Fatal(err)
	}
	if got := strings.Contains("\n"+string(text), "\n"+line); got != wanted {
		l.Errorf("%s is there: %t, want %t", line, got, wanted)
	}
}
