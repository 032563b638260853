// Package metrics tells Prometheus what a supervisor does.
//
// What is shown is asked for at the moment of the scrape: the supervisor's
// status, the figures of its accept queues, the counters of its network
// namespace. What is counted here comes from two places only: the report of
// each upgrade, and the decisions that led to it.
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
	upgrades    *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	phase       *prometheus.HistogramVec
	startup     prometheus.Histogram
	lastVerdict *prometheus.GaugeVec
	cut         prometheus.Counter
	decisions   *prometheus.CounterVec
}

// New returns the metrics of the supervisor that from tells of.
func New(build Build, from Sources) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		upgrades: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "supervisor_upgrades_total",
			Help: "Upgrades and rollbacks that reached their verdict.",
		}, []string{"kind", "verdict"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "supervisor_upgrade_duration_seconds",
			Help:    "Time from the request of an upgrade to its verdict.",
			Buckets: buckets(),
		}, []string{"kind", "verdict"}),
		phase: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "supervisor_upgrade_phase_duration_seconds",
			Help:    "Time that upgrades spent in each of their phases.",
			Buckets: buckets(),
		}, []string{"phase"}),
		startup: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "supervisor_candidate_startup_seconds",
			Help:    "Time that candidates took from their start to their ready.",
			Buckets: buckets(),
		}),
		lastVerdict: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "supervisor_last_verdict_timestamp_seconds",
			Help: "Time of the latest upgrade or rollback that ended with each verdict, in seconds since 1970.",
		}, []string{"kind", "verdict"}),
		cut: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "supervisor_connections_cut_total",
			Help: "Connections that were cut at a drain deadline, as far as callers waited for the drain.",
		}),
		decisions: newDecisions(),
	}
	m.preset()
	m.registry.MustRegister(
		m.upgrades, m.duration, m.phase, m.startup, m.lastVerdict, m.cut, m.decisions,
		buildInfo(build), newStatusCollector(from.Status), newQueueCollector(from.Queues, from.Namespace),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// buckets reach from a millisecond to about half an hour.
func buckets() []float64 { return prometheus.ExponentialBuckets(0.001, 2.5, 17) }

// preset makes the counters show 0 before the first upgrade, so that the first
// one is an increase.
func (m *Metrics) preset() {
	for _, kind := range []upgrade.Kind{upgrade.KindUpgrade, upgrade.KindRollback} {
		for _, verdict := range []upgrade.Verdict{upgrade.Refused, upgrade.Aborted, upgrade.RolledBack, upgrade.Committed} {
			m.upgrades.WithLabelValues(string(kind), string(verdict))
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
	m.upgrades.WithLabelValues(kind, verdict).Inc()
	m.duration.WithLabelValues(kind, verdict).Observe(r.DurationSeconds)
	end := r.Started.Add(time.Duration(r.DurationSeconds * float64(time.Second)))
	m.lastVerdict.WithLabelValues(kind, verdict).Set(float64(end.UnixMilli()) / 1000)
	for _, p := range r.Phases {
		m.phase.WithLabelValues(string(p.Phase)).Observe(p.Seconds)
	}
	if r.StartupSeconds > 0 {
		m.startup.Observe(r.StartupSeconds)
	}
	m.cut.Add(float64(r.Cut))
	baked := slices.ContainsFunc(r.Phases, func(p upgrade.PhaseTime) bool { return p.Phase == upgrade.PhaseBake })
	if baked && r.Verdict == upgrade.Committed {
		m.Decided("bake", "passed", string(health.ReasonSettled))
	}
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
