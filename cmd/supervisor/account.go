package main

import (
	"slices"
	"strings"
	"time"

	"example.com/supervisor/health"
	"example.com/supervisor/upgrade"
)

// sampledTime is how much of what led to a verdict is told in samples.
const sampledTime = 750 * time.Millisecond

// account is what is seen of the queues during one request, and by what they
// are judged. What is not said otherwise is used by one goroutine at a time:
// first that of the admission, then the monitor's.
type account struct {
	tally    *health.Tally // nil: the request is not known, or there were no queues
	shared   []string      // listeners that both generations have; nil: all
	watched  []health.Watched
	bake     *health.Bake
	progress *health.Progress     // nil if no listener is judged
	silent   []health.Observation // room for withoutArrivals
}

// Begin begins the account of a request.
func (w *watcher) Begin(request uint64) {
	m := w.monitor()
	if m == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.accounts[request] = &account{tally: m.Tally()}
}

// account is that of a request, judged by m; of one that is not known, a new one.
func (w *watcher) account(request uint64, m *health.Monitor) *account {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.accounts[request]
	if a == nil {
		a = new(account)
	}
	if a.watched == nil {
		a.judge(m, false)
	}
	return a
}

// judge sets by what the queues are judged from now on: as they are now. A listener
// that only one of the generations has says nothing of the other: nobody accepts
// there before the candidate does, or from the cut-over on.
func (a *account) judge(m *health.Monitor, tolerant bool) {
	a.watched = slices.DeleteFunc(m.Watched(tolerant), func(w health.Watched) bool {
		return a.shared != nil && !slices.Contains(a.shared, w.Name)
	})
	a.bake = health.NewBake(a.watched)
	a.progress = nil
	if interval, judged := intervalOf(a.watched); judged {
		a.progress = health.NewProgress(interval)
	}
}

// names are those of the listeners that are judged.
func (a *account) names() []string {
	names := make([]string, len(a.watched))
	for i, w := range a.watched {
		names[i] = w.Name
	}
	return names
}

// sharedBy are the names of the listeners that both releases have; nil if that is
// not known, which stands for all.
func sharedBy(a upgrade.Release, b *upgrade.Release) []string {
	if b == nil || a.Listen == nil || b.Listen == nil {
		return nil
	}
	shared := []string{}
	for _, spec := range a.Listen {
		if slices.Contains(b.Listen, spec) {
			name, _, _ := strings.Cut(spec, "=")
			shared = append(shared, name)
		}
	}
	return shared
}

// intervalOf is the longest of the intervals of listeners that are judged;
// false if none is.
func intervalOf(watched []health.Watched) (longest time.Duration, judged bool) {
	for _, w := range watched {
		if !w.Limits.Off {
			longest, judged = max(longest, w.Limits.Interval), true
		}
	}
	return longest, judged
}

// outgoing learns from the active generation, before it pauses, how long its
// connections take.
func (a *account) outgoing(active health.Count) {
	if a.progress != nil {
		a.progress.Typical(active)
	}
}

// works judges what a generation said of its work.
func (a *account) works(v health.View, generation int) (health.Finding, health.ProgressState) {
	count, ok := v.Count(generation)
	if !ok || a.progress == nil {
		return health.Finding{}, health.Shown
	}
	return a.progress.Observe(v.At, count)
}

// bakes takes a look during the bake of t.
func (a *account) bakes(v health.View, t upgrade.Target) (f health.Finding, tripped bool) {
	obs := v.Observations
	if !t.Reports {
		obs = a.withoutArrivals(obs)
	}
	if f, tripped = a.bake.Observe(obs); tripped {
		return f, true
	}
	if f, state := a.works(v, t.Generation); state == health.Stuck {
		return f, true
	}
	return f, false
}

// withoutArrivals is obs as seen of a generation that does not say what it
// accepts: what the others report would be taken for all there is, and so few
// arrivals for connections that wait long.
func (a *account) withoutArrivals(obs []health.Observation) []health.Observation {
	a.silent = append(a.silent[:0], obs...)
	for i := range a.silent {
		a.silent[i].Arrivals = -1
	}
	return a.silent
}

// Account ends the account of a request and tells what was seen.
func (w *watcher) Account(request uint64, failed bool) []upgrade.QueueAccount {
	w.mu.Lock()
	a := w.accounts[request]
	delete(w.accounts, request)
	w.mu.Unlock()
	if a == nil || a.tally == nil {
		return nil
	}
	defer a.tally.End()
	var all []upgrade.QueueAccount
	for _, t := range a.tally.Take() {
		q := upgrade.QueueAccount{Listener: t.Name, Limit: t.Limit, MaxDepth: t.MaxDepth, MaxSojournSeconds: secondsIf(t.MaxHead, t.HeadKnown)}
		if t.DropsKnown {
			q.Drops = &t.Drops
		}
		if failed && (t.MaxDepth > 0 || t.Drops > 0) {
			q.Samples = samplesOf(a.tally.Samples(t.Name, sampledTime))
		}
		all = append(all, q)
	}
	return all
}

func samplesOf(all []health.Sampled) []upgrade.QueueSample {
	samples := make([]upgrade.QueueSample, len(all))
	for i, s := range all {
		samples[i] = upgrade.QueueSample{Seconds: s.At.Seconds(), Depth: s.Depth, OldestSeconds: secondsIf(s.Head, s.HeadKnown), Drops: s.Drops}
	}
	return samples
}

// secondsIf is nil where d is not known.
func secondsIf(d time.Duration, known bool) *float64 {
	if !known {
		return nil
	}
	s := d.Seconds()
	return &s
}
