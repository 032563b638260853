package health

import (
	"math"
	"testing"
	"time"
)

func TestRate(t *testing.T) {
	t.Parallel()
	type step struct {
		every  time.Duration
		number int
		total  func(last uint64, i int) uint64
	}
	by := func(n uint64) func(uint64, int) uint64 {
		return func(last uint64, _ int) uint64 { return last + n }
	}
	tests := []struct {
		name  string
		steps []step
		want  float64 // negative: not known
		off   float64 // may be, as a part
	}{
		{"nothing", nil, -1, 0},
		{"one look", []step{{ms, 1, by(5)}}, -1, 0},
		{"a moment", []step{{ms, 20, by(5)}}, -1, 0},
		{"even", []step{{ms, 100, by(5)}}, 5000, 0.01},
		{"nobody comes", []step{{ms, 100, by(0)}}, 0, 0},
		{"looks seconds apart", []step{{2 * time.Second, 3, by(100)}}, 50, 0.01},
		{"the past fades", []step{{ms, 1000, by(5)}, {ms, 3000, by(1)}}, 1000, 0.02},
		{"reported in lumps", []step{{ms, 3000, func(last uint64, i int) uint64 {
			if i%100 == 99 {
				return last + 100
			}
			return last
		}}}, 1000, 0.15},
		{"reported late: falls with the depth", []step{{5 * ms, 1000, func(_ uint64, i int) uint64 {
			return uint64(i/20*100 + max(0, 30-i%20*10)) // 100 in 100 ms; a burst waits, then is not reported yet
		}}}, 1000, 0.3},
		{"counted anew", []step{{ms, 1000, by(5)}, {100 * ms, 1, func(uint64, int) uint64 { return 0 }}, {10 * ms, 1000, by(7)}}, 700, 0.02},
	}
	for _, test := range tests {
		var r Rate
		at, total := time.Duration(0), uint64(0)
		for _, s := range test.steps {
			for i := range s.number {
				at += s.every
				total = s.total(total, i)
				r.Observe(at, total)
			}
		}
		got := r.PerSecond()
		if test.want < 0 && got >= 0 || test.want >= 0 && !(math.Abs(got-test.want) <= test.off*test.want+1e-9) {
			t.Errorf("%s: %v a second, want %v", test.name, got, test.want)
		}
	}
}

func FuzzRate(f *testing.F) {
	f.Add([]byte{1, 1, 2, 9, 0, 3, 255, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		var r Rate
		at := time.Duration(0)
		for ; len(data) >= 2; data = data[2:] {
			at += time.Duration(data[0]) * 10 * ms
			r.Observe(at, uint64(data[1])<<56|uint64(data[1]))
			if got := r.PerSecond(); math.IsNaN(got) || math.IsInf(got, 0) {
				t.Fatalf("%v a second", got)
			}
		}
	})
}

func TestRateFadesToNone(t *testing.T) {
	t.Parallel()
	var r Rate
	for i := range 11 {
		r.Observe(time.Duration(i)*100*time.Millisecond, uint64(100*i))
	}
	if rate := r.PerSecond(); rate < 500 {
		t.Fatalf("rate %v", rate)
	}
	for i := range 20 {
		r.Observe(time.Second+time.Duration(i+1)*500*time.Millisecond, 1000)
	}
	if rate := r.PerSecond(); rate != 0 {
		t.Errorf("rate %v ten seconds after the last arrival, want 0", rate)
	}
}
