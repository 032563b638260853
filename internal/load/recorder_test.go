package load

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

func at(due, latency time.Duration) sample { return newSample(due, latency) }

func TestSampleKeepsItsTimes(t *testing.T) {
	t.Parallel()
	for _, row := range [][4]time.Duration{
		{0, 0, 0, 0},
		{time.Second + 150*time.Microsecond, 1234567 * time.Nanosecond, time.Second + 100*time.Microsecond, 1234 * time.Microsecond},
		{-time.Second, -time.Second, 0, 0},
		{100 * time.Hour, time.Hour, 100 * time.Hour, time.Hour},
		{1e6 * time.Hour, 1e6 * time.Hour, 4294967295 * 100 * time.Microsecond, 4294967295 * time.Microsecond},
	} {
		if s := at(row[0], row[1]); s.begin() != row[2] || s.duration() != row[3] {
			t.Errorf("due %v, latency %v became %v, %v", row[0], row[1], s.begin(), s.duration())
		}
	}
}

func TestRecorderKeepsEverySample(t *testing.T) {
	t.Parallel()
	var r recorder
	var all sync.WaitGroup
	const writers, each = 8, 10_000
	for w := range writers {
		all.Go(func() {
			for i := range each {
				r.add(at(time.Duration(i)*time.Millisecond, time.Duration(w)))
			}
		})
	}
	all.Wait()
	samples := r.all()
	if len(samples) != writers*each {
		t.Fatalf("%d samples", len(samples))
	}
	for i, s := range samples {
		if want := time.Duration(i/writers) * time.Millisecond; s.begin() != want {
			t.Fatalf("sample %d is due at %v, want %v", i, s.begin(), want)
		}
	}
}

func TestRecorderFindsTheLatestSamples(t *testing.T) {
	t.Parallel()
	var r recorder
	for i := range 10_000 {
		r.add(at(time.Duration(i)*time.Millisecond, 0))
	}
	if n := len(r.since(9 * time.Second)); n != 1000 {
		t.Errorf("%d samples of the last second", n)
	}
}

func TestGenerationsAreNumbered(t *testing.T) {
	t.Parallel()
	var g generations
	for range 2 {
		for i := range 100 {
			name := fmt.Sprint(i)
			if n := g.number(name); g.name(n) != name || n == 0 {
				t.Errorf("%q is number %d, which is %q", name, n, g.name(n))
			}
		}
	}
	if g.number("") != 0 {
		t.Error("none has a number")
	}
	for i := range maxGenerations + 10 {
		g.number(fmt.Sprint(i))
	}
	if n := g.number("one too many"); n != 0 {
		t.Errorf("number %d beyond the bound", n)
	}
}

func TestWindowsFindWhatOverlaps(t *testing.T) {
	t.Parallel()
	start := time.Now()
	const ms = time.Millisecond
	w := newWindows([]Event{{Time: start.Add(100 * ms)}, {Time: start.Add(150 * ms)}, {Time: start.Add(500 * ms)}}, start, 100*ms)
	for _, row := range []struct {
		due, latency time.Duration
		want         int
	}{
		{0, 99 * ms, 0},       // over before the first
		{0, 100 * ms, 1},      // delayed into it
		{120 * ms, ms, 1},     // in the first only
		{160 * ms, ms, 2},     // in two
		{210 * ms, ms, 1},     // in the second only
		{251 * ms, ms, 0},     // after it
		{0, time.Second, 3},   // over all of them
		{599 * ms, 5 * ms, 1}, // begins in the last
		{601 * ms, 5 * ms, 0},
	} {
		if got := len(w.of(at(row.due, row.latency))); got != row.want {
			t.Errorf("due %v for %v: in %d windows, want %d", row.due, row.latency, got, row.want)
		}
	}
}

func TestSeriesSummarisesBuckets(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	var samples []sample
	for i := range 100 {
		samples = append(samples, at(time.Duration(i)*ms, time.Duration(i+1)*ms))
	}
	bad := at(350*ms, 0)
	bad.failure = 1
	samples = append(samples, at(300*ms, 5*ms), bad)
	got := series(samples, 100*ms)
	want := []Point{
		{AtSeconds: 0, OK: 100, P50MS: 50, P99MS: 99, MaxMS: 100},
		{AtSeconds: 0.3, OK: 1, Failed: 1, P50MS: 5, P99MS: 5, MaxMS: 5},
	}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestHistogramAgreesWithTheExactValues(t *testing.T) {
	t.Parallel()
	h := newHistogram()
	var samples []sample
	for i := range 10_000 {
		s := at(0, time.Duration(i+1)*37*time.Microsecond)
		samples = append(samples, s)
		record(h, s)
	}
	a, b := latencyOf(h), exactLatency(samples)
	for _, pair := range [][2]float64{{a.P50MS, b.P50MS}, {a.P99MS, b.P99MS}, {a.P999MS, b.P999MS}, {a.MaxMS, b.MaxMS}} {
		if diff := pair[0]/pair[1] - 1; diff > 0.001 || diff < -0.001 {
			t.Errorf("%+v and %+v", a, b)
		}
	}
	if a.Count != b.Count {
		t.Errorf("%d and %d", a.Count, b.Count)
	}
}
