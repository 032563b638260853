package load

import (
	"slices"
	"sort"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// newHistogram counts microseconds up to an hour with 3 significant digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, time.Hour.Microseconds(), 3)
}

func record(h *hdrhistogram.Histogram, s sample) {
	h.RecordValue(min(int64(s.latency), h.HighestTrackableValue())) //nolint:errcheck // in range
}

func latencyOf(h *hdrhistogram.Histogram) Latency {
	ms := func(quantile float64) float64 { return float64(h.ValueAtQuantile(quantile)) / 1000 }
	return Latency{Count: h.TotalCount(), P50MS: ms(50), P99MS: ms(99), P999MS: ms(99.9), MaxMS: float64(h.Max()) / 1000}
}

// exactLatency is latencyOf for few samples, of which it takes those that are
// OK.
func exactLatency(samples []sample) Latency {
	var values []uint32
	for _, s := range samples {
		if s.failure == 0 {
			values = append(values, s.latency)
		}
	}
	if len(values) == 0 {
		return Latency{}
	}
	slices.Sort(values)
	ms := func(quantile float64) float64 {
		// The smallest value that so large a part is not above.
		n := int(quantile*float64(len(values)) + 0.999999)
		return float64(values[min(max(n, 1), len(values))-1]) / 1000
	}
	return Latency{Count: int64(len(values)), P50MS: ms(0.5), P99MS: ms(0.99), P999MS: ms(0.999), MaxMS: ms(1)}
}

// A window is the time after one event.
type window struct {
	from, to time.Duration
	failed   uint64
	ok       []sample // of the open loops
}

// windows are in the order of their times and equally long, so that those that
// overlap with a request stand next to each other.
type windows []*window

func newWindows(events []Event, started time.Time, length time.Duration) windows {
	var all windows
	for _, e := range events {
		at := e.Time.Sub(started)
		all = append(all, &window{from: at, to: at + length})
	}
	return all
}

// of returns the windows that overlap with a request.
func (w windows) of(s sample) windows {
	first := sort.Search(len(w), func(i int) bool { return w[i].to >= s.begin() })
	last := first
	for last < len(w) && w[last].from <= s.end() {
		last++
	}
	return w[first:last]
}

// summarize makes the report, once everything has ended.
func (r *Run) summarize() Report {
	report := Report{
		Started: r.started, DurationSeconds: r.sent.Seconds(), BucketSeconds: r.config.Bucket.Seconds(),
		FailedByKind: map[FailureKind]uint64{}, Generations: map[string]uint64{}, StartLag: latencyOf(r.pacer.lag),
	}
	events := r.marked()
	after := newWindows(events, r.started, r.config.AfterEvent)
	for _, l := range r.loops {
		t := l.summarize(after)
		report.Requests += t.Requests
		report.OK += t.OK
		report.Failed += t.Failed
		report.Unfinished += t.Unfinished
		report.Resent += t.Resent
		for _, f := range t.Failures {
			report.FailedByKind[f.Kind] += f.Count
		}
		for name, n := range t.Generations {
			report.Generations[name] += n
		}
		report.Traffic = append(report.Traffic, t)
	}
	h := newHistogram()
	for i, e := range events {
		h.Reset()
		for _, s := range after[i].ok {
			record(h, s)
		}
		report.Events = append(report.Events, EventReport{
			Label: e.Label, Verdict: e.Verdict, AtSeconds: after[i].from.Seconds(),
			Failed: after[i].failed, After: latencyOf(h),
		})
	}
	return report
}

// summarize makes the loop's part of the report and adds to the windows.
func (l *loop) summarize(after windows) TrafficReport {
	samples := l.samples.all()
	t := TrafficReport{
		Name: l.Name, Pattern: l.Pattern, Requests: l.requests.Load(), OK: l.ok.Load(), Failed: l.failed.Load(),
		Unfinished: l.unfinished.Load(), Resent: l.resent.Load(), Connections: l.connections.Load(), IdleCloses: l.idleCloses.Load(),
		Generations: map[string]uint64{}, Series: series(samples, l.config.Bucket),
	}
	all, steady, disturbed := newHistogram(), newHistogram(), newHistogram()
	var kinds [failureKindCount]uint64
	for _, s := range samples {
		near := after.of(s)
		if s.generation != 0 {
			t.Generations[l.generations.name(s.generation)]++
		}
		if s.failure != 0 {
			kinds[s.failure-1]++
			for _, w := range near {
				w.failed++
			}
			continue
		}
		record(all, s)
		if len(near) == 0 {
			record(steady, s)
			continue
		}
		record(disturbed, s)
		for _, w := range near {
			if l.Pattern != InFlight {
				w.ok = append(w.ok, s)
			}
		}
	}
	t.All, t.Steady, t.AfterEvent = latencyOf(all), latencyOf(steady), latencyOf(disturbed)
	for i, kind := range failureKinds() {
		if kinds[i] > 0 {
			t.Failures = append(t.Failures, FailureReport{Kind: kind, Count: kinds[i], First: l.failures.of(kind)})
		}
	}
	return t
}

// series summarises samples, which are in the order of their times, by bucket.
func series(samples []sample, width time.Duration) []Point {
	var points []Point
	for len(samples) > 0 {
		bucket := samples[0].begin() / width
		n := sort.Search(len(samples), func(i int) bool { return samples[i].begin()/width > bucket })
		l := exactLatency(samples[:n])
		points = append(points, Point{
			AtSeconds: (bucket * width).Seconds(), OK: int(l.Count), Failed: n - int(l.Count),
			P50MS: l.P50MS, P99MS: l.P99MS, MaxMS: l.MaxMS,
		})
		samples = samples[n:]
	}
	return points
}
