package compare

import (
	"iter"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/internal/load"
)

// A tally is what was seen of one peer, over all rounds.
type tally struct {
	upgrades int
	traffic  map[string]*counts
	// steady and after have latencies in milliseconds, by traffic: of requests that
	// no upgrade was near, and of those that were due in the second after one was
	// asked for or in the second after its command had returned.
	steady, after map[string][]float64
	// alone, told and beyond have a time in milliseconds for each upgrade: from the
	// command until the new version alone answers new connections, to the command's
	// return, and to the verdict beyond the start-up, as the peer itself
	// measured that.
	alone, told, beyond []float64
	// drops are connections that the kernel dropped at a full accept queue.
	drops uint64
}

// counts are those of one kind of traffic.
type counts struct {
	requests, failed uint64
	kinds            map[load.FailureKind]uint64
}

func newTally() *tally {
	return &tally{traffic: map[string]*counts{}, steady: map[string][]float64{}, after: map[string][]float64{}}
}

// add counts what a report has.
func (t *tally) add(r load.Report) {
	for _, traffic := range r.Traffic {
		c := t.traffic[traffic.Name]
		if c == nil {
			c = &counts{kinds: map[load.FailureKind]uint64{}}
			t.traffic[traffic.Name] = c
		}
		c.requests += traffic.Requests
		c.failed += traffic.Failed + traffic.Unfinished
		for _, f := range traffic.Failures {
			c.kinds[f.Kind] += f.Count
		}
		if traffic.Unfinished > 0 {
			c.kinds[unanswered] += traffic.Unfinished
		}
	}
}

// failed is how many requests failed of all kinds of traffic.
func (t *tally) failed() (failed, requests uint64) {
	for _, c := range t.traffic {
		failed += c.failed
		requests += c.requests
	}
	return failed, requests
}

// afterwards is how long a request is near to what happened.
const afterwards = time.Second

// watch takes from the single outcomes what a report does not have.
func (t *tally) watch(begun time.Time, done []change, outcomes iter.Seq[load.Outcome]) {
	alone := make([]time.Time, len(done))
	answered := map[string]bool{}
	for o := range outcomes {
		if o.Failure != "" || o.Due.Before(begun) {
			continue
		}
		near, between := t.near(o.Due, done)
		switch {
		case near:
			t.after[o.Traffic] = append(t.after[o.Traffic], milliseconds(o.Latency))
		case !between:
			t.steady[o.Traffic] = append(t.steady[o.Traffic], milliseconds(o.Latency))
		}
		if o.Traffic != arriving {
			continue
		}
		for i, u := range done {
			first := u.to == o.Generation && !answered[u.to]
			if (first || u.from == o.Generation) && o.Ended().After(alone[i]) {
				alone[i] = o.Ended()
			}
		}
		answered[o.Generation] = true
	}
	for i, u := range done {
		t.alone = append(t.alone, milliseconds(alone[i].Sub(u.asked)))
		t.told = append(t.told, milliseconds(u.told.Sub(u.asked)))
		t.beyond = append(t.beyond, milliseconds(u.said.beyond))
	}
	t.upgrades += len(done)
}

// near reports whether a moment is shortly after the beginning or the end of an
// upgrade, and whether it is at all between.
func (t *tally) near(at time.Time, done []change) (near, between bool) {
	for _, u := range done {
		asked, told := at.Sub(u.asked), at.Sub(u.told)
		near = near || asked >= 0 && asked < afterwards || told >= 0 && told < afterwards
		between = between || asked >= 0 && told < 0
	}
	return near, between
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1000 }

// quantile is the smallest value that so large a part is not above; 0 of none. It
// sorts the values.
func quantile(values []float64, part float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	n := int(part*float64(len(values)) + 0.999999)
	return values[min(max(n, 1), len(values))-1]
}

// drops is TcpExt's ListenDrops in the text of /proc/net/netstat, whose lines come in
// pairs of names and values (proc_pid_net(5)).
func drops(tb testing.TB, netstat string) uint64 {
	tb.Helper()
	lines := strings.Split(netstat, "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		at := slices.Index(names, "ListenDrops")
		if at < 0 || at >= len(values) {
			continue
		}
		n, err := strconv.ParseUint(values[at], 10, 64)
		if err != nil {
			tb.Fatal(err)
		}
		return n
	}
	tb.Fatal("the kernel does not tell ListenDrops")
	return 0
}
