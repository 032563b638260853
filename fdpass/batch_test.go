package fdpass

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Whatever the names are, each batch fits a packet and none is wasted.
func TestBatchesFitPackets(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		n             int
		name, address string
		most          int
	}{
		{0, "http", "127.0.0.1:80", 0},
		{1, "http", "127.0.0.1:80", 1},
		{MaxBatch, "http", "127.0.0.1:80", 1},
		{MaxBatch + 1, "http", "127.0.0.1:80", 2},
		{1000, "http", "127.0.0.1:80", 4},
		{1000, strings.Repeat("n", 240), "/" + strings.Repeat("a", 107), 8},
		{1000, strings.Repeat(`"`, 240), "@" + strings.Repeat("\n", 107), 20},
		{300, strings.Repeat("é", 120), "@" + strings.Repeat("\u2028", 107), 20},
		{MaxListeners, "http", "127.0.0.1:80", 66},
	} {
		ls := make([]Listener, c.n)
		for i := range ls {
			ls[i] = Listener{Name: fmt.Sprintf("%s-%d", c.name, i), Network: "unixpacket", Address: c.address, Cookie: 1<<64 - 1}
		}
		batches := batchesOf(ls)
		if len(batches) > c.most {
			t.Errorf("%d of %.10q: %d batches, want %d at most", c.n, c.name, len(batches), c.most)
		}
		seen := 0
		for i, b := range batches {
			if _, err := encode(Listeners{Batch: i + 1, Of: len(batches), Listeners: b}); err != nil {
				t.Errorf("%d of %.10q: batch %d: %v", c.n, c.name, i+1, err)
			}
			if b[0].Name != ls[seen].Name {
				t.Errorf("%d of %.10q: batch %d starts with %q", c.n, c.name, i+1, b[0].Name)
			}
			seen += len(b)
		}
		if seen != c.n {
			t.Errorf("%d of %.10q: %d listeners in batches", c.n, c.name, seen)
		}
	}
}

func TestSplitStatsFitPackets(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 100, 1000, 5000} {
		s := Stats{}
		for i := range n {
			s.Listeners = append(s.Listeners, ListenerStats{
				Name: fmt.Sprintf("%d-%s", i, strings.Repeat(`"`, 100)), Accepted: MaxID, Answered: MaxID,
				Durations: make([]uint64, 24), Sojourn: make([]uint64, 24)})
		}
		seen := 0
		parts := s.Split()
		for i, p := range parts {
			if _, err := encode(p); err != nil {
				t.Errorf("%d listeners: part %d: %v", n, i, err)
			}
			seen += len(p.Listeners)
		}
		if seen != n || len(parts) < 1 || len(parts) > 1+n/100 {
			t.Errorf("%d listeners: %d in %d parts", n, seen, len(parts))
		}
	}
}

// The largest figures that a listener can have fit a packet.
func TestSplitLargestStats(t *testing.T) {
	t.Parallel()
	largest := slices.Repeat([]uint64{MaxID}, MaxDurations)
	var s Stats
	for i := range 100 {
		s.Listeners = append(s.Listeners, ListenerStats{
			Name: fmt.Sprintf("%s%03d", strings.Repeat("\"", MaxName-3), i), Accepted: MaxID, Active: MaxID, OldestMS: maxMillis,
			Answered: MaxID, Durations: largest, Sojourn: largest})
	}
	parts := s.Split()
	if len(parts) < 2 {
		t.Errorf("%d parts", len(parts))
	}
	for i, p := range parts {
		if _, err := encode(p); err != nil {
			t.Errorf("part %d: %v", i, err)
		}
	}
}
