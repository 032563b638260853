package health

import (
	"math"
	"testing"
	"time"
)

func TestGrowth(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		every  time.Duration
		depths []uint32
		rate   float64 // 0: does not grow
	}{
		{"nothing", ms, nil, 0},
		{"one look", ms, []uint32{50}, 0},
		{"even", ms, []uint32{9, 9, 9, 9, 9, 9, 9}, 0},
		{"one step", ms, []uint32{0, 0, 0, 0, 0, 0, 100}, 0},
		{"one large step after small ones", ms, []uint32{0, 1, 2, 2, 2, 2, 3, 100}, 0},
		{"two steps", 5 * ms, []uint32{0, 0, 0, 30, 60}, 0},
		{"a burst of 4 ms", ms, []uint32{0, 0, 25, 50, 75, 100}, 0},
		{"longer than a burst", ms, []uint32{0, 0, 10, 20, 30, 40, 50, 60}, 10000},
		{"what was before counts little", ms, []uint32{40, 10, 30, 0, 10, 20, 30, 40, 50, 60}, 10000},
		{"being taken", ms, []uint32{0, 10, 20, 30, 40, 50, 60, 55}, 0},
		{"slow looks", 100 * ms, []uint32{0, 10, 20, 30, 40}, 100},
		{"doubling with each look", 5 * ms, []uint32{0, 4, 9, 18, 30}, 1740},
		{"from a level", 10 * ms, []uint32{60, 60, 60, 60, 70, 80, 90, 100, 110}, 1000},
	}
	for _, test := range tests {
		var g Growth
		for i, depth := range test.depths {
			g.Observe(time.Duration(i)*test.every, depth)
		}
		rate, ok := g.PerSecond()
		if ok != (test.rate > 0) || math.Abs(rate-test.rate) > 0.02*test.rate {
			t.Errorf("%s: grows by %v %v, want %v", test.name, rate, ok, test.rate)
		}
	}
}

func TestGrowthTellsWhenTheQueueIsFull(t *testing.T) {
	t.Parallel()
	var g Growth
	s := Sample{Limit: 128}
	if in, ok := g.FullIn(s); ok {
		t.Errorf("before the first look: full in %v, want nothing", in)
	}
	for i := range 30 {
		s.Depth = uint32(2 * i)
		g.Observe(time.Duration(i)*ms, s.Depth)
	}
	// 71 more make 129.
	if in, ok := g.FullIn(s); !ok || in.Round(100*time.Microsecond) != 35500*time.Microsecond {
		t.Errorf("full in %v %v, want 35.5ms", in, ok)
	}
	s.Depth = 129
	if in, ok := g.FullIn(s); !ok || in != 0 {
		t.Errorf("a full queue: full in %v %v, want at once", in, ok)
	}
}

func TestGrowthJoinsLooksThatAreClose(t *testing.T) {
	t.Parallel()
	g := Growth{Window: 640 * ms}
	for i := range 4000 {
		g.Observe(time.Duration(i)*ms/2, 1000+uint32(i)/40)
	}
	if rate, ok := g.PerSecond(); !ok || math.Abs(rate-50) > 1 {
		t.Errorf("grows by %v %v, want 50", rate, ok)
	}
}

func FuzzGrowth(f *testing.F) {
	f.Add([]byte{1, 1, 1, 2, 1, 3, 1, 4, 1, 9}, uint32(128))
	f.Fuzz(func(t *testing.T, data []byte, limit uint32) {
		var g Growth
		s := Sample{Limit: limit}
		at := time.Duration(0)
		for ; len(data) >= 2; data = data[2:] {
			at += time.Duration(data[0]) * 100 * time.Microsecond
			s.Depth = uint32(data[1])
			g.Observe(at, s.Depth)
			rate, grows := g.PerSecond()
			in, full := g.FullIn(s)
			if grows != full || grows && !(rate > 0) || in < 0 {
				t.Fatalf("grows by %v %v, full in %v %v", rate, grows, in, full)
			}
		}
	})
}
