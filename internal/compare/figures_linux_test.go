package compare

import (
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/internal/load"
)

// outcomes is a walk over outcomes whose Due is that of at.
func outcomes(start time.Time, all ...load.Outcome) iter.Seq[load.Outcome] {
	for i := range all {
		all[i].Due = start.Add(all[i].Due.Sub(time.Time{}))
	}
	return slices.Values(all)
}

// at is a moment after the start.
func at(ms int) time.Time { return time.Time{}.Add(time.Duration(ms) * time.Millisecond) }

func TestTallyTellsWhenTheNewVersionIsAlone(t *testing.T) {
	t.Parallel()
	start := time.Now()
	ms := time.Millisecond
	all := newTally()
	all.watch(start, []change{
		{from: "v1", to: "v2", asked: start.Add(1000 * ms), told: start.Add(1100 * ms)},
		{from: "v2", to: "v3", asked: start.Add(5000 * ms), told: start.Add(8000 * ms)},
	}, outcomes(start,
		load.Outcome{Traffic: arriving, Due: at(500), Latency: 2 * ms, Generation: "v1"},
		load.Outcome{Traffic: arriving, Due: at(1050), Latency: 3 * ms, Generation: "v2"},
		load.Outcome{Traffic: arriving, Due: at(1060), Latency: 10 * ms, Generation: "v1"}, // the last of it
		load.Outcome{Traffic: kept, Due: at(1090), Latency: 500 * ms, Generation: "v1"},    // is another matter
		load.Outcome{Traffic: arriving, Due: at(1200), Latency: 4 * ms, Failure: load.Reset},
		load.Outcome{Traffic: arriving, Due: at(5001), Latency: 2500 * ms, Generation: "v3"}, // nobody answered before
		load.Outcome{Traffic: arriving, Due: at(7000), Latency: 600 * ms, Generation: "v3"},  // neither steady nor near
	))
	if !slices.Equal(all.alone, []float64{70, 2501}) || !slices.Equal(all.told, []float64{100, 3000}) {
		t.Errorf("alone after %v ms, told after %v ms", all.alone, all.told)
	}
	if !slices.Equal(all.steady[arriving], []float64{2}) || !slices.Equal(all.after[arriving], []float64{3, 10, 2500}) {
		t.Errorf("steady %v, after %v", all.steady, all.after)
	}
}

func TestOfferTellsTheGapAndWhoServes(t *testing.T) {
	t.Parallel()
	start := time.Now()
	ms := time.Millisecond
	for name, row := range map[string]struct {
		last   load.Outcome
		gap    time.Duration
		serves string
	}{
		"the version before": {load.Outcome{Traffic: arriving, Due: at(2900), Latency: 10 * ms, Generation: "v1"}, 2800 * ms, "v1"},
		"nobody":             {load.Outcome{Traffic: arriving, Due: at(2900), Latency: 10 * ms, Failure: load.Status}, 2890 * ms, "none"},
		"too late":           {load.Outcome{Traffic: arriving, Due: at(2900), Latency: 200 * ms, Generation: "v1"}, 2890 * ms, "none"},
	} {
		var o offer
		o.judge(outcomes(start, load.Outcome{Traffic: arriving, Due: at(100), Latency: 10 * ms, Generation: "v2"}, row.last), start, start.Add(3000*ms), 1000*ms)
		if o.gap != row.gap || o.verdict() != row.serves {
			t.Errorf("%s: %v without an answer, then %s; want %v, %s", name, o.gap, o.verdict(), row.gap, row.serves)
		}
	}
}

func TestOfferTellsWhenTheVersionBeforeIsBack(t *testing.T) {
	t.Parallel()
	start := time.Now()
	ms := time.Millisecond
	var o offer
	o.recoveries(outcomes(start,
		load.Outcome{Traffic: arriving, Due: at(90), Latency: 5 * ms, Generation: "v1"},
		load.Outcome{Traffic: arriving, Due: at(99), Latency: 5 * ms, Generation: "v1"}, // sent before the fault
		load.Outcome{Traffic: arriving, Due: at(101), Latency: 9 * ms, Generation: "v2"},
		load.Outcome{Traffic: kept, Due: at(102), Latency: ms, Generation: "v1"}, // it was never away for these
		load.Outcome{Traffic: arriving, Due: at(110), Latency: 30 * ms, Generation: "v1"},
		load.Outcome{Traffic: arriving, Due: at(120), Latency: 10 * ms, Generation: "v1"},
	), []time.Time{start.Add(100 * ms), {}, start.Add(500 * ms)}, "v1")
	if !slices.Equal(o.trips, []time.Duration{30 * ms}) || o.begun != 2 {
		t.Errorf("back after %v, of %d", o.trips, o.begun)
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[99-i] = float64(i + 1)
	}
	for part, want := range map[float64]float64{0.5: 50, 0.99: 99, 0.999: 100, 1: 100} {
		if got := quantile(hundred, part); got != want {
			t.Errorf("%v of 1 to 100 is %v, want %v", part, got, want)
		}
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("of nothing it is %v", got)
	}
}

func TestDropsAreRead(t *testing.T) {
	t.Parallel()
	if got := drops(t, "TcpExt: A ListenOverflows ListenDrops B\nTcpExt: 1 2 3 4\nIpExt: X\nIpExt: 9\n"); got != 3 {
		t.Errorf("%d drops", got)
	}
}

// TestPageHasAllThatWasFound: no peer and no fault is left out of the page.
func TestPageHasAllThatWasFound(t *testing.T) {
	t.Parallel()
	r := &results{
		pace: full(1000), upgrades: 1, rounds: 1, peers: []peer{ours{}, ours{watched: true}, tableflip{}}, missing: []string{"x was not run."},
		versions: map[string]string{}, tallies: map[string]*tally{}, offers: map[string]map[string]offer{}, undone: map[string]offer{},
	}
	for _, p := range r.peers {
		r.tallies[p.title()] = newTally()
	}
	for i, f := range faults() {
		r.offers[f.title] = map[string]offer{}
		for _, p := range r.peers {
			r.offers[f.title][p.title()] = offer{said: said{words: "a|b"}, lost: uint64(1234 + i), serves: "v1"}
		}
	}
	text, err := r.document()
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range faults() {
		if !strings.Contains(text, "### "+f.title) || strings.Count(text, "**"+grouped(uint64(1234+i))+"**") != len(r.peers) {
			t.Errorf("%q is not there, or not for each peer", f.title)
		}
	}
	for _, want := range []string{"x was not run.", `a\|b`, "| tableflip |", "- **tableflip**"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not there", want)
		}
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "|") && strings.Contains(line, "<no value>") {
			t.Errorf("not filled in: %s", line)
		}
	}
}
