package scale

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/upgrade"
)

// greet makes one request on a connection of its own.
func greet(address string) error {
	c, err := net.DialTimeout("tcp", address, answerTime)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "POST /echo HTTP/1.1\r\nHost: crowd\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"); err != nil {
		return err
	}
	answer, err := io.ReadAll(c)
	if err == nil && !strings.HasSuffix(string(answer), "\r\n\r\nhello") {
		err = fmt.Errorf("answered %q", answer)
	}
	return err
}

// A connectionRow is what so many open connections cost.
type connectionRow struct {
	protocol    string
	connections int
	generations int // that they are open in
	open        took
	drains      took    // while they are held by generations that drain
	idle, bake  float64 // of a core
	drain       float64
	sweeping    float64       // of a core, of the generations that drain
	drained     time.Duration // from the end of the last connection
	supervisor  int           // bytes resident, at rest with all open
	overseers   int           // with what stands for programs
	service     int           // of the generations that have them, less as many without
	answered    int
	lost        int
}

// TestGrowthWithConnections holds ever more connections open through upgrades, by
// drains that last as long. Each must answer once more after them.
func TestGrowthWithConnections(t *testing.T) {
	native, foreign := []int{0, 500}, []int{500}
	if isLong() {
		native, foreign = []int{0, 1000, 5000, 20_000, 50_000}, []int{0, 1000, 5000, 20_000}
	}
	p, pace := build(t), paceOf()
	var rows []connectionRow
	for _, n := range native {
		rows = append(rows, p.connections(t, "native", n, pace))
	}
	for _, n := range foreign {
		rows = append(rows, p.connections(t, "listen-fds", n, pace))
	}
	t.Logf("\n%s", connectionTable(rows))
	publish(t, "connections", "make scale", connectionTable(rows))
	drawTo(t, "scale-connections.svg", connectionPlot(rows))
}

// connections measures one row.
func (p programs) connections(t *testing.T, protocol string, n int, pace pace) connectionRow {
	flags := append(pace.flags(), "--protocol", protocol)
	s := p.start(t, []string{"hold=tcp://127.0.0.1:0", "http=tcp://127.0.0.1:0"}, flags...)
	defer s.Stop()
	row := connectionRow{protocol: protocol, connections: n}
	st := s.alone()
	empty := resident(t, server(st.Generations[0]))
	holders := s.fill(n, most(t))
	row.generations = len(holders)
	row.idle = busy(t, pace.window, s.overseers(s.status())...)

	a, part := s.bakes()
	row.open.add(a)
	row.bake = part
	row.watchDrain(s, pace.window)
	for range pace.upgrades {
		row.drains.add(s.commits(nil))
	}
	s.awaitGenerations(row.generations + 1) // the others had nothing to wait for
	row.look(s, s.status(), empty)
	for _, h := range holders {
		e := h.ask(t)
		row.answered, row.lost = row.answered+e.Answered, row.lost+e.Lost
		if e.Lost > 0 {
			t.Errorf("%s, %d connections: %d did not answer after the upgrades: %s", protocol, n, e.Lost, e.First)
		}
	}
	for _, h := range holders {
		h.letGo(t)
	}
	let := time.Now()
	s.alone()
	row.drained = time.Since(let)
	if row.answered != n {
		t.Errorf("%s: %d of %d connections answered", protocol, row.answered, n)
	}
	return row
}

// fill has so many connections opened, at as many generations as it takes, because
// no process may have more than most. The last of these is active.
func (s *supervised) fill(connections, most int) (holders []*holder) {
	s.Helper()
	parts := (connections + most - 1) / most
	for i := range parts {
		if i > 0 {
			s.commits(nil)
		}
		n := connections / parts
		if i == parts-1 {
			n = connections - total(holders)
		}
		at := address(s.status(), "hold")
		holders = append(holders, hold(s.TB, order{Connections: n, Address: at, Source: fmt.Sprintf("127.0.1.%d", i+1)}))
	}
	return holders
}

func total(holders []*holder) (n int) {
	for _, h := range holders {
		n += h.Connections
	}
	return n
}

// awaitGenerations waits until so many are left.
func (s *supervised) awaitGenerations(n int) {
	s.Helper()
	var st upgrade.Status
	s.Poll(fmt.Sprint(n, " generations"), func() bool {
		st = s.status()
		return len(st.Generations) == n
	}, func() any { return st })
}

// watchDrain looks at what the overseers and the generations that drain take of a
// core.
func (row *connectionRow) watchDrain(s *supervised, window time.Duration) {
	if row.connections > 0 {
		s.awaitGenerations(row.generations + 1)
	}
	st := s.status()
	var draining []int
	for _, g := range st.Generations {
		if g.Role == upgrade.RoleDraining {
			draining = append(draining, server(g))
		}
	}
	before, begun := onCPU(s.TB, draining...), time.Now()
	row.drain = busy(s.TB, window, s.overseers(st)...)
	row.sweeping = (onCPU(s.TB, draining...) - before).Seconds() / time.Since(begun).Seconds()
}

// look takes the memory of the overseers and of the generations that have
// connections.
func (row *connectionRow) look(s *supervised, st upgrade.Status, empty int) {
	row.supervisor = resident(s.TB, s.PID())
	for _, pid := range s.overseers(st) {
		row.overseers += resident(s.TB, pid)
	}
	for _, g := range st.Generations {
		if g.Role == upgrade.RoleDraining {
			row.service += resident(s.TB, server(g)) - empty
		}
	}
}

// of are the rows of one protocol.
func of(rows []connectionRow, protocol string) []connectionRow {
	return slices.DeleteFunc(slices.Clone(rows), func(r connectionRow) bool { return r.protocol != protocol })
}
