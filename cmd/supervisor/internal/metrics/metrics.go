// Package metrics tells Prometheus what a supervisor does.
//
// What is shown is asked for at the moment of the scrape: the supervisor's
// status, the figures of its accept queues, the counters of its network
// namespace. What is counted here comes from the report of each upgrade, the
// decisions that led to it, and the supervisor's own replacements; it is carried
// over where another binary takes the supervisor's place.
package metrics

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"example.com/supervisor/health"
	"example.com/supervisor/upgrade"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// scrapeTimeout is how long the supervisor may take to tell its status.
const scrapeTimeout = 5 * time.Second

// Build is what the build info metric shows.
type Build struct {
	Version, Revision, Go string
}

// Sources are where the figures come from. They may be called concurrently, and
// must not block for longer than a scrape may take.
type Sources struct {
	// Status tells what the supervisor does. Required.
	Status func(context.Context) (upgrade.Status, error)
	// Queues tells of the accept queues; nil means none.
	Queues func() []health.Figures
	// Namespace returns the counters of the network namespace since its
	// beginning, and whether they are known; nil means that they are not.
	Namespace func() (health.Counters, bool)
}

// Metrics are the metrics of one supervisor. The methods may be called
// concurrently.
type Metrics struct {
	registry    *prometheus.Registry
	upgrades    *tally
	duration    *spread
	phase       *spread
	startup     *spread
	lastVerdict *tally
	cut         *tally
	decisions   *tally
	reexecs     *tally
	recoveries  *tally
	adopted     *tally
}

// New returns the metrics of the supervisor that from tells of.
func New(build Build, from Sources) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		upgrades: newTally(prometheus.CounterValue, "supervisor_upgrades_total",
			"Upgrades and rollbacks that reached their verdict.", "kind", "verdict"),
		duration: newSpread("supervisor_upgrade_duration_seconds",
			"Time from the request of an upgrade to its verdict.", buckets(), "kind", "verdict"),
		phase: newSpread("supervisor_upgrade_phase_duration_seconds",
			"Time that upgrades spent in each of their phases.", buckets(), "phase"),
		startup: newSpread("supervisor_candidate_startup_seconds",
			"Time that candidates took from their start to their ready.", buckets()),
		lastVerdict: newTally(prometheus.GaugeValue, "supervisor_last_verdict_timestamp_seconds",
			"Time of the latest upgrade or rollback that ended with each verdict, in seconds since 1970.", "kind", "verdict"),
		cut: newTally(prometheus.CounterValue, "supervisor_connections_cut_total",
			"Connections that were cut at a drain deadline, as far as callers waited for the drain."),
		decisions: newDecisions(),
		reexecs: newTally(prometheus.CounterValue, "supervisor_reexecs_total",
			"How often another binary took the supervisor's place, in the same process."),
		recoveries: newTally(prometheus.CounterValue, "supervisor_recoveries_total",
			"How often a supervisor went on from where one that was killed had been."),
		adopted: newTally(prometheus.CounterValue, "supervisor_adopted_generations_total",
			"Generations that were taken over from a supervisor that was killed."),
	}
	m.preset()
	for _, t := range m.tallies() {
		m.registry.MustRegister(t)
	}
	for _, h := range m.spreads() {
		m.registry.MustRegister(h)
	}
	m.registry.MustRegister(
		buildInfo(build), newStatusCollector(from.Status), newQueueCollector(from.Queues, from.Namespace),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// tallies and spreads are all that is counted here.
func (m *Metrics) tallies() []*tally {
	return []*tally{m.upgrades, m.lastVerdict, m.cut, m.decisions, m.reexecs, m.recoveries, m.adopted}
}

func (m *Metrics) spreads() []*spread { return []*spread{m.duration, m.phase, m.startup} }

// buckets reach from a millisecond to about half an hour.
func buckets() []float64 { return prometheus.ExponentialBuckets(0.001, 2.5, 17) }

// preset makes the counters show 0 before the first upgrade, so that the first
// one is an increase.
func (m *Metrics) preset() {
	for _, kind := range []upgrade.Kind{upgrade.KindUpgrade, upgrade.KindRollback} {
		for _, verdict := range []upgrade.Verdict{upgrade.Refused, upgrade.Aborted, upgrade.RolledBack, upgrade.Committed} {
			m.upgrades.add(0, string(kind), string(verdict))
		}
	}
}

func buildInfo(b Build) prometheus.Collector {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "supervisor_build_info",
		Help:        "Always 1; the labels tell what was built.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Revision, "goversion": b.Go},
	})
	info.Set(1)
	return info
}

// Reported counts one report. It does not block.
func (m *Metrics) Reported(r upgrade.Report) {
	kind, verdict := string(r.Kind), string(r.Verdict)
	m.upgrades.add(1, kind, verdict)
	m.duration.observe(r.DurationSeconds, kind, verdict)
	end := r.Started.Add(time.Duration(r.DurationSeconds * float64(time.Second)))
	m.lastVerdict.set(float64(end.UnixMilli())/1000, kind, verdict)
	for _, p := range r.Phases {
		m.phase.observe(p.Seconds, string(p.Phase))
	}
	if r.StartupSeconds > 0 {
		m.startup.observe(r.StartupSeconds)
	}
	m.cut.add(float64(r.Cut))
	baked := slices.ContainsFunc(r.Phases, func(p upgrade.PhaseTime) bool { return p.Phase == upgrade.PhaseBake })
	if baked && r.Verdict == upgrade.Committed {
		m.Decided("bake", "passed", string(health.ReasonSettled))
	}
}

// Reexecuted counts that another binary has taken the supervisor's place. The new
// one calls it.
func (m *Metrics) Reexecuted() { m.reexecs.add(1) }

// Recovered counts that this supervisor has gone on from where one that was
// killed had been, and how many generations it has adopted.
func (m *Metrics) Recovered(adopted int) {
	m.recoveries.add(1)
	m.adopted.add(float64(adopted))
}

// Gatherer is where the metrics can be read, for tests.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Handler answers a scrape. A metric that cannot be had is logged and left
// out.
func (m *Metrics) Handler(logger *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:      slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
		ErrorHandling: promhttp.ContinueOnError,
		Timeout:       2 * scrapeTimeout,
	})
}
