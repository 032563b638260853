package metrics

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/supervisor/health"
	"example.com/supervisor/upgrade"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// counted are metrics of which each has something to tell.
func counted() *Metrics {
	m := New(Build{}, Sources{Status: status})
	for i := range 3 {
		m.Reported(upgrade.Report{
			Kind: upgrade.KindUpgrade, Verdict: upgrade.Committed, Started: time.Unix(1000, 0), DurationSeconds: 0.1 * float64(i+1), StartupSeconds: 5000,
			Phases: []upgrade.PhaseTime{{Phase: upgrade.PhaseStart, Seconds: 0.001}, {Phase: upgrade.PhaseBake, Seconds: 1e6}}, Cut: 2,
		})
	}
	m.Decided("gate", "shut", string(health.ReasonDrops))
	m.Reexecuted()
	m.Recovered(2)
	return m
}

// kept returns what m counts itself, as a scrape shows it.
func kept(t *testing.T, m *Metrics) string {
	t.Helper()
	registry := prometheus.NewRegistry()
	for _, tally := range m.tallies() {
		registry.MustRegister(tally)
	}
	for _, spread := range m.spreads() {
		registry.MustRegister(spread)
	}
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

func same(t *testing.T, a, b *Metrics) bool { return kept(t, a) == kept(t, b) }

func save(t *testing.T, m *Metrics) json.RawMessage {
	t.Helper()
	text, err := m.Save()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestCountersGoOnInTheNextProcess holds that no series begins anew when
// another binary takes the supervisor's place.
func TestCountersGoOnInTheNextProcess(t *testing.T) {
	t.Parallel()
	before, after := counted(), New(Build{}, Sources{Status: status})
	if err := after.Restore(save(t, before)); err != nil {
		t.Fatal(err)
	}
	if !same(t, after, before) {
		t.Errorf("after:\n%v\nbefore:\n%v", kept(t, after), kept(t, before))
	}
	for _, m := range []*Metrics{before, after} {
		m.Reexecuted()
		m.Reported(upgrade.Report{Kind: upgrade.KindUpgrade, Verdict: upgrade.Aborted, StartupSeconds: 1})
	}
	if !same(t, after, before) {
		t.Errorf("they do not go on alike:\n%v\n%v", kept(t, after), kept(t, before))
	}
	compare(t, after, `
# HELP supervisor_adopted_generations_total Generations that were taken over from a supervisor that was killed.
# TYPE supervisor_adopted_generations_total counter
supervisor_adopted_generations_total 2
# HELP supervisor_recoveries_total How often a supervisor went on from where one that was killed had been.
# TYPE supervisor_recoveries_total counter
supervisor_recoveries_total 1
# HELP supervisor_reexecs_total How often another binary took the supervisor's place, in the same process.
# TYPE supervisor_reexecs_total counter
supervisor_reexecs_total 2
`)
}

func TestBucketsAreCumulative(t *testing.T) {
	t.Parallel()
	m := New(Build{}, Sources{Status: status})
	for _, seconds := range []float64{0.001, 0.0011, 0.0025, 5000} { // a bound is in its bucket
		m.startup.observe(seconds)
	}
	for _, want := range []string{
		`_bucket{le="0.001"} 1`, `_bucket{le="0.0025"} 3`, `_bucket{le="2328.3064365386963"} 3`, `_bucket{le="+Inf"} 4`, "_count 4", "_sum 5000.0046",
	} {
		if text := kept(t, m); !strings.Contains(text, "supervisor_candidate_startup_seconds"+want+"\n") {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

// TestWhatCannotBeIsNotRestored holds that a state that makes no sense changes
// nothing.
func TestWhatCannotBeIsNotRestored(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"nothing":          ``,
		"null":             `null`,
		"a list":           `[]`,
		"cut off":          `{"values":{`,
		"another form":     `{"values":[]}`,
		"negative":         `{"values":{"supervisor_reexecs_total":[{"value":7}],"supervisor_connections_cut_total":[{"value":-1}]}}`,
		"infinite":         `{"values":{"supervisor_reexecs_total":[{"value":1e999}]}}`,
		"too many labels":  `{"values":{"supervisor_reexecs_total":[{"labels":["a"],"value":1}]}}`,
		"too few labels":   `{"values":{"supervisor_upgrades_total":[{"labels":["a"],"value":1}]}}`,
		"twice":            `{"values":{"supervisor_reexecs_total":[{"value":1},{"value":1}]}}`,
		"a NUL byte":       `{"values":{"supervisor_upgrades_total":[{"labels":["a","b\u0000"],"value":1}]}}`,
		"counts missing":   `{"values":{"supervisor_reexecs_total":[{"value":7}]},"histograms":{"supervisor_candidate_startup_seconds":{"bounds":[1],"series":[{"counts":[1],"sum":1}]}}}`,
		"a negative count": `{"histograms":{"supervisor_candidate_startup_seconds":{"bounds":[],"series":[{"counts":[-1],"sum":1}]}}}`,
		"too many":         `{"histograms":{"supervisor_candidate_startup_seconds":{"bounds":[1],"series":[{"counts":[18446744073709551615,1],"sum":1}]}}}`,
		"sum of nothing":   `{"histograms":{"supervisor_candidate_startup_seconds":{"bounds":[1],"series":[{"counts":[0,0],"sum":1}]}}}`,
		"a negative sum":   `{"histograms":{"supervisor_candidate_startup_seconds":{"bounds":[1],"series":[{"counts":[1,0],"sum":-1}]}}}`,
	} {
		m, fresh := New(Build{}, Sources{Status: status}), New(Build{}, Sources{Status: status})
		if m.Check(json.RawMessage(text)) == nil {
			t.Errorf("%s: passes the check", name)
		}
		if err := m.Restore(json.RawMessage(text)); err == nil || !same(t, m, fresh) {
			t.Errorf("%s: error %v, and\n%v", name, err, kept(t, m))
		}
	}
}

// TestMetricsOfAnotherVersion: one that is not known is left out, and a
// histogram of other buckets begins anew.
func TestMetricsOfAnotherVersion(t *testing.T) {
	t.Parallel()
	m := New(Build{}, Sources{Status: status})
	err := m.Restore(json.RawMessage(`{"values":{"supervisor_news_total":[{"labels":["a"],"value":1}],"supervisor_reexecs_total":[{"value":3}]},"more":1,
		"histograms":{"supervisor_candidate_startup_seconds":{"bounds":[1,2],"series":[{"counts":[1,0,0],"sum":1}]}}}`))
	text := kept(t, m)
	if err != nil || !strings.Contains(text, "supervisor_reexecs_total 3\n") || !strings.Contains(text, "supervisor_candidate_startup_seconds_count 0\n") {
		t.Errorf("error %v\n%s", err, text)
	}
}

func TestSavedWhileCounting(t *testing.T) {
	t.Parallel()
	m := New(Build{}, Sources{Status: status})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 50 {
				m.Reported(upgrade.Report{Kind: upgrade.KindUpgrade, Verdict: upgrade.Committed, StartupSeconds: 1})
				if err := New(Build{}, Sources{Status: status}).Restore(save(t, m)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func FuzzRestore(f *testing.F) {
	text, err := counted().Save()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(text))
	f.Add([]byte(`{"values":{"supervisor_reexecs_total":[{"value":1}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m := New(Build{}, Sources{Status: status})
		if err := m.Restore(text); err != nil {
			return
		}
		again := New(Build{}, Sources{Status: status})
		if err := again.Restore(save(t, m)); err != nil || !same(t, again, m) {
			t.Errorf("%s: what was restored cannot be saved: %v", text, err)
		}
	})
}
