package metrics

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/upgrade"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func status(context.Context) (upgrade.Status, error) {
	stats := func(accepted uint64, active int64) []upgrade.ListenerStats {
		return []upgrade.ListenerStats{
			{Name: "http", Accepted: &accepted, Active: active, OldestSeconds: 1.5},
			{Name: "http", Accepted: new(uint64(1))},     // said twice
			{Name: "unknown", Accepted: new(uint64(99))}, // not ours
		}
	}
	return upgrade.Status{
		Phase: upgrade.PhaseBake, Restarts: 4, Restart: &upgrade.RestartStatus{Failures: 2},
		Listeners: []upgrade.ListenerStatus{{Name: "http"}, {Name: "admin"}},
		Generations: []upgrade.GenerationStatus{
			{Generation: 1, Role: upgrade.RoleDraining, Listeners: stats(100, 3)},
			{Generation: 2, Role: upgrade.RoleDraining, Listeners: stats(10, 2)},
			{Generation: 3, Role: upgrade.RoleActive, Listeners: stats(5, 1), MemoryBytes: new(uint64(6 << 20))},
			{Generation: 4, Role: upgrade.RoleDraining, Listeners: []upgrade.ListenerStats{{Name: "http", Active: 7}}}, // counted from outside
		},
	}, nil
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	m := New(Build{"v1", "abc", "go1"}, Sources{Status: status})
	m.Reported(upgrade.Report{
		Kind: upgrade.KindUpgrade, Verdict: upgrade.Committed, Started: time.Unix(1000, 0), DurationSeconds: 2.5, StartupSeconds: 0.01,
		Phases: []upgrade.PhaseTime{{Phase: upgrade.PhaseStart, Seconds: 0.01}, {Phase: upgrade.PhaseBake, Seconds: 2}},
		Cut:    3,
	})
	compare(t, m, `
# HELP supervisor_active_generation Number of the active generation; 0 if there is none.
# TYPE supervisor_active_generation gauge
supervisor_active_generation 3
# HELP supervisor_build_info Always 1; the labels tell what was built.
# TYPE supervisor_build_info gauge
supervisor_build_info{goversion="go1",revision="abc",version="v1"} 1
# HELP supervisor_connections Open connections.
# TYPE supervisor_connections gauge
supervisor_connections{generation="1",listener="http"} 3
supervisor_connections{generation="2",listener="http"} 2
supervisor_connections{generation="3",listener="http"} 1
supervisor_connections{generation="4",listener="http"} 7
# HELP supervisor_connections_accepted_total Connections that a generation has accepted.
# TYPE supervisor_connections_accepted_total counter
supervisor_connections_accepted_total{generation="1",listener="http"} 100
supervisor_connections_accepted_total{generation="2",listener="http"} 10
supervisor_connections_accepted_total{generation="3",listener="http"} 5
# HELP supervisor_connections_cut_total Connections that were cut at a drain deadline, as far as callers waited for the drain.
# TYPE supervisor_connections_cut_total counter
supervisor_connections_cut_total 3
# HELP supervisor_generation_memory_bytes Memory that the processes of a generation use, as far as it is known.
# TYPE supervisor_generation_memory_bytes gauge
supervisor_generation_memory_bytes{generation="3",role="active"} 6.291456e+06
# HELP supervisor_generations Generations that are alive, by role.
# TYPE supervisor_generations gauge
supervisor_generations{role="active"} 1
supervisor_generations{role="candidate"} 0
supervisor_generations{role="draining"} 3
supervisor_generations{role="killed"} 0
supervisor_generations{role="paused"} 0
supervisor_generations{role="restarting"} 0
# HELP supervisor_last_verdict_timestamp_seconds Time of the latest upgrade or rollback that ended with each verdict, in seconds since 1970.
# TYPE supervisor_last_verdict_timestamp_seconds gauge
supervisor_last_verdict_timestamp_seconds{kind="upgrade",verdict="committed"} 1002.5
# HELP supervisor_restart_failures Failures in a row of the active generation that is to be restarted; 0 if there is none.
# TYPE supervisor_restart_failures gauge
supervisor_restart_failures 2
# HELP supervisor_restarts_total How often a crashed active generation was started anew.
# TYPE supervisor_restarts_total counter
supervisor_restarts_total 4
# HELP supervisor_upgrade_running 1 while an upgrade or a rollback runs, else 0.
# TYPE supervisor_upgrade_running gauge
supervisor_upgrade_running 1
# HELP supervisor_upgrades_total Upgrades and rollbacks that reached their verdict.
# TYPE supervisor_upgrades_total counter
supervisor_upgrades_total{kind="rollback",verdict="aborted"} 0
supervisor_upgrades_total{kind="rollback",verdict="committed"} 0
supervisor_upgrades_total{kind="rollback",verdict="refused"} 0
supervisor_upgrades_total{kind="rollback",verdict="rolled-back"} 0
supervisor_upgrades_total{kind="upgrade",verdict="aborted"} 0
supervisor_upgrades_total{kind="upgrade",verdict="committed"} 1
supervisor_upgrades_total{kind="upgrade",verdict="refused"} 0
supervisor_upgrades_total{kind="upgrade",verdict="rolled-back"} 0
`)
}

func TestHistograms(t *testing.T) {
	t.Parallel()
	m := New(Build{}, Sources{Status: status})
	for range 3 {
		m.Reported(upgrade.Report{Kind: upgrade.KindUpgrade, Verdict: upgrade.Aborted, StartupSeconds: 1,
			Phases: []upgrade.PhaseTime{{Phase: upgrade.PhaseStart, Seconds: 1}, {Phase: upgrade.PhaseGate, Seconds: 1}}})
	}
	for name, series := range map[string]int{
		"supervisor_upgrade_duration_seconds":       1,
		"supervisor_upgrade_phase_duration_seconds": 2,
		"supervisor_candidate_startup_seconds":      1,
	} {
		if n, err := testutil.GatherAndCount(m.Gatherer(), name); err != nil || n != series {
			t.Errorf("%s has %d series (%v), want %d", name, n, err, series)
		}
	}
}

func TestNamesFollowTheConventions(t *testing.T) {
	t.Parallel()
	m := withQueues()
	m.Reported(upgrade.Report{Kind: upgrade.KindUpgrade, Verdict: upgrade.Committed, Phases: []upgrade.PhaseTime{{Phase: upgrade.PhaseStart}}})
	problems, err := testutil.GatherAndLint(m.Gatherer())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "supervisor_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestScrapeWithoutAStatusShowsTheRest(t *testing.T) {
	t.Parallel()
	m := New(Build{}, Sources{Status: func(context.Context) (upgrade.Status, error) {
		return upgrade.Status{}, errors.New("the supervisor has ended")
	}})
	w := httptest.NewRecorder()
	m.Handler(slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if body := w.Body.String(); w.Code != 200 || !strings.Contains(body, "supervisor_upgrades_total") || strings.Contains(body, "supervisor_generations") {
		t.Errorf("%d, want the metrics that there are:\n%.500s", w.Code, body)
	}
}
