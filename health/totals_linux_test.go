package health

import (
	"encoding/json"
	"slices"
	"testing"
	"time"
)

// quietMonitor is one that hardly looks by itself.
func quietMonitor(t *testing.T, fd int, earlier Totals) *Monitor {
	t.Helper()
	return monitorOf(t, MonitorConfig{Listeners: []Listener{{Name: "http", FD: fd}}, Idle: time.Hour, Earlier: earlier})
}

func TestMonitorGoesOnWhereAnotherOneWas(t *testing.T) {
	t.Parallel()
	fd, _ := listenRaw(t, 8)
	first := quietMonitor(t, fd, Totals{})
	said := Count{Listener: "http", Accepted: 1000, Finished: 990, Active: 10, Sojourn: []uint64{900, 100}, Durations: []uint64{990}}
	first.Count(3, []Count{said})
	first.mu.Lock()
	first.looks[0].drops = 7
	first.mu.Unlock()

	text, err := json.Marshal(first.Totals())
	if err != nil {
		t.Fatal(err)
	}
	var left Totals
	if err := json.Unmarshal(text, &left); err != nil {
		t.Fatal(err)
	}
	second := quietMonitor(t, fd, left)
	f := second.Figures()[0]
	if f.Drops != 7 || f.DropsPerSecond != 0 {
		t.Errorf("%d drops, %v a second, want 7 that are over", f.Drops, f.DropsPerSecond)
	}
	if len(f.Generations) != 1 || f.Generations[0].Generation != 3 || f.Generations[0].Accepted != 1000 || !slices.Equal(f.Generations[0].Sojourn, said.Sojourn) {
		t.Errorf("generations %+v", f.Generations)
	}
	said.Accepted, said.Sojourn = 1002, []uint64{902, 100}
	second.Count(3, []Count{said})
	if got := second.looks[0].accepted; got != 2 {
		t.Errorf("%d connections are taken for new, want 2", got)
	}
	if p99, known := second.Figures()[0].SojournP99, second.Figures()[0].SojournKnown; !known || p99 > time.Millisecond {
		t.Errorf("p99 %v (%t): what was long ago counts", p99, known)
	}
}

// TestWhatAStrangerDidBeforeIsNoNews: a generation that outlived its supervisor
// tells first what it did all its life.
func TestWhatAStrangerDidBeforeIsNoNews(t *testing.T) {
	t.Parallel()
	fd, _ := listenRaw(t, 8)
	m := quietMonitor(t, fd, Totals{Counts: map[int][]Count{1: nil, 2: nil}})
	if f := m.Figures()[0]; len(f.Generations) != 0 {
		t.Errorf("generations %+v before they said anything", f.Generations)
	}
	for _, c := range []struct {
		generation     int
		accepted, news uint64
	}{{1, 5000, 0}, {1, 5003, 3}, {2, 9000, 3}, {3, 4, 7}} {
		m.Count(c.generation, []Count{{Listener: "http", Accepted: c.accepted, Sojourn: []uint64{c.accepted}}})
		if got := m.looks[0].accepted; got != c.news {
			t.Errorf("after generation %d said %d: %d are new, want %d", c.generation, c.accepted, got, c.news)
		}
	}
}
