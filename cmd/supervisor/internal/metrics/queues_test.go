package metrics

import (
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/supervisor/health"
	"example.com/supervisor/upgrade"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// withQueues are metrics of a listener of which all is known, and of one of
// which hardly anything is.
func withQueues() *Metrics {
	figures := []health.Figures{
		{
			Name: "http",
			Observation: health.Observation{
				Sample:   health.Sample{Depth: 97, Limit: 4096, Drops: 1 << 31, Listening: true},
				Arrivals: 2000, Head: 12 * time.Millisecond, HeadKnown: true,
			},
			DropsKnown: true, Drops: 7,
			Generations: []health.GenerationFigures{
				{Generation: 3, Sojourn: []uint64{100, 0, 20, 0, 0, 4, 22: 1, 23: 1}},
				{Generation: 4},
			},
		},
		{Name: "admin", DropsKnown: true, Observation: health.Observation{Sample: health.Sample{Depth: 1, Limit: 128}, Arrivals: -1}},
	}
	return New(Build{"v1", "abc", "go1"}, Sources{
		Status: status,
		Queues: func() []health.Figures { return figures },
		Namespace: func() (health.Counters, bool) {
			return health.Counters{ListenOverflows: 11, ListenDrops: 13, SyncookiesSent: 17, ReqQFullDrop: 2, PassiveOpens: 99}, true
		},
	})
}

func TestQueues(t *testing.T) {
	t.Parallel()
	compare(t, withQueues(), `
# HELP supervisor_accept_sojourn_seconds How long accepted connections had waited, as generations report it, in steps of a jiffy. The sum is estimated from the middles of the buckets.
# TYPE supervisor_accept_sojourn_seconds histogram
supervisor_accept_sojourn_seconds_bucket{generation="3",listener="http",le="0.001"} 100
supervisor_accept_sojourn_seconds_bucket{generation="3",listener="http",le="0.002"} 100
supervisor_accept_sojourn_seconds_bucket{generation="3",listener="http",le="0.004"} 120
supervisor_accept_sojourn_seconds_bucket{generation="3",listener="http",le="0.008"} 120
supervisor_accept_sojourn_seconds_bucket{generation="3",listener="http",le="0.016"} 120
supervisor_accept_sojourn_seconds_bucket{generation="3",listener="http",le="0.032"} 124
supervisor_accept_sojourn_seconds_bucket{generation="3",listener="http",le="0.064"} 124
supervisor_accept_sojourn_seconds_bucket{generation="3",listener="http",le="0.128"} 124
supervisor_accept_sojourn_seconds_bucket{generation="3",listener="http",le="0.256"} 124
supervisor_accept_sojourn_seconds_bucket{generation="3",listener="http",le="0.512"} 124
supervisor_accept_sojourn_seconds_bucket{generation="3",listener="http",le="1.024"} 124
supervisor_accept_sojourn_seconds_bucket{generation="3",listener="http",le="2.048"} 124
supervisor_accept_sojourn_seconds_bucket{generation="3",listener="http",le="4.096"} 124
supervisor_accept_sojourn_seconds_bucket{generation="3",listener="http",le="8.192"} 124
supervisor_accept_sojourn_seconds_bucket{generation="3",listener="http",le="16.384"} 124
supervisor_accept_sojourn_seconds_bucket{generation="3",listener="http",le="32.768"} 124
supervisor_accept_sojourn_seconds_bucket{generation="3",listener="http",le="65.536"} 124
supervisor_accept_sojourn_seconds_bucket{generation="3",listener="http",le="+Inf"} 126
supervisor_accept_sojourn_seconds_sum{generation="3",listener="http"} 7340.238
supervisor_accept_sojourn_seconds_count{generation="3",listener="http"} 126
# HELP supervisor_namespace_listen_drops_total Packets that a listener discarded, for whatever reason, in the whole network namespace: of every listener there, whoever holds it.
# TYPE supervisor_namespace_listen_drops_total counter
supervisor_namespace_listen_drops_total 13
# HELP supervisor_namespace_listen_overflows_total Packets that found an accept queue full, in the whole network namespace: of every listener there, whoever holds it.
# TYPE supervisor_namespace_listen_overflows_total counter
supervisor_namespace_listen_overflows_total 11
# HELP supervisor_namespace_syn_queue_drops_total SYNs dropped because a SYN queue was full, in the whole network namespace: of every listener there, whoever holds it.
# TYPE supervisor_namespace_syn_queue_drops_total counter
supervisor_namespace_syn_queue_drops_total 2
# HELP supervisor_namespace_syncookies_sent_total SYN cookies sent because a SYN queue was full, in the whole network namespace: of every listener there, whoever holds it.
# TYPE supervisor_namespace_syncookies_sent_total counter
supervisor_namespace_syncookies_sent_total 17
# HELP supervisor_queue_arrivals_per_second New connections per second, smoothed; absent until known.
# TYPE supervisor_queue_arrivals_per_second gauge
supervisor_queue_arrivals_per_second{listener="http"} 2000
# HELP supervisor_queue_depth Connections that wait to be accepted.
# TYPE supervisor_queue_depth gauge
supervisor_queue_depth{listener="admin"} 1
supervisor_queue_depth{listener="http"} 97
# HELP supervisor_queue_drops_total Packets that the listener discarded for want of room since the supervisor's start; a client that waits is counted again with each attempt.
# TYPE supervisor_queue_drops_total counter
supervisor_queue_drops_total{listener="admin"} 0
supervisor_queue_drops_total{listener="http"} 7
# HELP supervisor_queue_headroom_seconds How long the queue would take to fill if nobody accepted; absent where the arrivals are not known or none come.
# TYPE supervisor_queue_headroom_seconds gauge
supervisor_queue_headroom_seconds{listener="http"} 2
# HELP supervisor_queue_limit What listen(2) got; the queue holds one more.
# TYPE supervisor_queue_limit gauge
supervisor_queue_limit{listener="admin"} 128
supervisor_queue_limit{listener="http"} 4096
# HELP supervisor_queue_oldest_seconds How long the oldest waiting connection has waited, in steps of a jiffy; absent where it was not seen.
# TYPE supervisor_queue_oldest_seconds gauge
supervisor_queue_oldest_seconds{listener="http"} 0.012
`)
}

func TestScrapeWithoutQueuesShowsNone(t *testing.T) {
	t.Parallel()
	for name, from := range map[string]Sources{
		"none":    {Status: status},
		"unknown": {Status: status, Queues: func() []health.Figures { return nil }, Namespace: func() (health.Counters, bool) { return health.Counters{}, false }},
	} {
		for _, metric := range []string{"supervisor_queue_depth", "supervisor_accept_sojourn_seconds", "supervisor_namespace_listen_drops_total"} {
			if n, err := testutil.GatherAndCount(New(Build{}, from).Gatherer(), metric); err != nil || n != 0 {
				t.Errorf("%s: %s has %d series (%v), want none", name, metric, n, err)
			}
		}
	}
}

func TestDecisions(t *testing.T) {
	t.Parallel()
	m := withQueues()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			m.Decided("admission", "let", string(health.ReasonSettled))
			m.Decided("gate", "shut", string(health.ReasonStanding))
			m.Decided("bake", "tripped", "generation 7 was killed by signal 9")
		})
	}
	all.Wait()
	for _, verdict := range []upgrade.Verdict{upgrade.Committed, upgrade.RolledBack} {
		m.Reported(upgrade.Report{Kind: upgrade.KindUpgrade, Verdict: verdict, Phases: []upgrade.PhaseTime{{Phase: upgrade.PhaseGate}, {Phase: upgrade.PhaseBake}}})
	}
	compare(t, m, `
# HELP supervisor_decisions_total What was decided at the steps of upgrades and rollbacks, and why; admission lets a forced one pass, a rollback, and one while no generation is active, for whatever reason it has against the moment.
# TYPE supervisor_decisions_total counter
supervisor_decisions_total{decision="let",reason="settled",step="admission"} 4
supervisor_decisions_total{decision="opened",reason="settled",step="gate"} 0
supervisor_decisions_total{decision="passed",reason="settled",step="bake"} 1
supervisor_decisions_total{decision="refused",reason="drops",step="admission"} 0
supervisor_decisions_total{decision="refused",reason="listeners",step="admission"} 0
supervisor_decisions_total{decision="refused",reason="memory",step="admission"} 0
supervisor_decisions_total{decision="refused",reason="not-listening",step="admission"} 0
supervisor_decisions_total{decision="refused",reason="standing-queue",step="admission"} 0
supervisor_decisions_total{decision="refused",reason="state",step="admission"} 0
supervisor_decisions_total{decision="shut",reason="depth",step="gate"} 0
supervisor_decisions_total{decision="shut",reason="drops",step="gate"} 0
supervisor_decisions_total{decision="shut",reason="headroom",step="gate"} 0
supervisor_decisions_total{decision="shut",reason="no-progress",step="gate"} 0
supervisor_decisions_total{decision="shut",reason="not-listening",step="gate"} 0
supervisor_decisions_total{decision="shut",reason="probe",step="gate"} 0
supervisor_decisions_total{decision="shut",reason="standing-queue",step="gate"} 4
supervisor_decisions_total{decision="shut",reason="timeout",step="gate"} 0
supervisor_decisions_total{decision="shut",reason="unseen",step="gate"} 0
supervisor_decisions_total{decision="tripped",reason="drops",step="bake"} 0
supervisor_decisions_total{decision="tripped",reason="filling",step="bake"} 0
supervisor_decisions_total{decision="tripped",reason="no-progress",step="bake"} 0
supervisor_decisions_total{decision="tripped",reason="not-listening",step="bake"} 0
supervisor_decisions_total{decision="tripped",reason="other",step="bake"} 4
supervisor_decisions_total{decision="tripped",reason="probe",step="bake"} 0
supervisor_decisions_total{decision="tripped",reason="standing-queue",step="bake"} 0
`)
}

// compare compares the metrics that want tells of, with all their series.
func compare(t *testing.T, m *Metrics, want string) {
	t.Helper()
	var names []string
	for line := range strings.Lines(want) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			names = append(names, strings.Fields(name)[0])
		}
	}
	if err := testutil.GatherAndCompare(m.Gatherer(), strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}
