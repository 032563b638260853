package metrics

import (
	"context"
	"slices"
	"strconv"

	"example.com/supervisor/upgrade"
	"github.com/prometheus/client_golang/prometheus"
)

// statusCollector turns a status into metrics at each scrape.
type statusCollector struct {
	status func(context.Context) (upgrade.Status, error)

	generations, active, restarts, backoff      *prometheus.Desc
	connections, accepted, oldest, upgradeInRun *prometheus.Desc
	memory                                      *prometheus.Desc
}

func newStatusCollector(status func(context.Context) (upgrade.Status, error)) *statusCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &statusCollector{
		status:       status,
		generations:  desc("supervisor_generations", "Generations that are alive, by role.", "role"),
		active:       desc("supervisor_active_generation", "Number of the active generation; 0 if there is none."),
		restarts:     desc("supervisor_restarts_total", "How often a crashed active generation was started anew."),
		backoff:      desc("supervisor_restart_failures", "Failures in a row of the active generation that is to be restarted; 0 if there is none."),
		connections:  desc("supervisor_connections", "Open connections.", "generation", "listener"),
		accepted:     desc("supervisor_connections_accepted_total", "Connections that a generation has accepted.", "generation", "listener"),
		oldest:       desc("supervisor_oldest_connection_seconds", "Age of the oldest open connection.", "generation", "listener"),
		memory:       desc("supervisor_generation_memory_bytes", "Memory that the processes of a generation use, as far as it is known.", "generation", "role"),
		upgradeInRun: desc("supervisor_upgrade_running", "1 while an upgrade or a rollback runs, else 0."),
	}
}

// Describe tells which metrics there are.
func (c *statusCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.generations, c.active, c.restarts, c.backoff, c.connections, c.accepted, c.oldest, c.upgradeInRun, c.memory} {
		out <- d
	}
}

// Collect asks for the status and sends its figures.
func (c *statusCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	status, err := c.status(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(c.generations, err)
		return
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	roles, active := count(status)
	for role, n := range roles {
		gauge(c.generations, float64(n), string(role))
	}
	gauge(c.active, float64(active))
	gauge(c.upgradeInRun, truth(status.Phase != upgrade.PhaseIdle))
	failures := 0
	if status.Restart != nil {
		failures = status.Restart.Failures
	}
	gauge(c.backoff, float64(failures))
	out <- prometheus.MustNewConstMetric(c.restarts, prometheus.CounterValue, float64(status.Restarts))
	for _, g := range status.Generations {
		number := strconv.Itoa(g.Generation)
		if g.MemoryBytes != nil {
			gauge(c.memory, float64(*g.MemoryBytes), number, string(g.Role))
		}
		for _, l := range known(g.Listeners, status.Listeners) {
			gauge(c.connections, float64(l.Active), number, l.Name)
			if l.Accepted == nil { // counted from outside, and no more is known
				continue
			}
			gauge(c.oldest, l.OldestSeconds, number, l.Name)
			out <- prometheus.MustNewConstMetric(c.accepted, prometheus.CounterValue, float64(*l.Accepted), number, l.Name)
		}
	}
}

// known returns the statistics of listeners that there are, once each: what a
// generation reports of others is its own affair.
func known(stats []upgrade.ListenerStats, listeners []upgrade.ListenerStatus) []upgrade.ListenerStats {
	var all []upgrade.ListenerStats
	for _, l := range listeners {
		i := slices.IndexFunc(stats, func(s upgrade.ListenerStats) bool { return s.Name == l.Name })
		if i >= 0 {
			all = append(all, stats[i])
		}
	}
	return all
}

// count counts generations by role, each role being there, and finds the
// active one.
func count(s upgrade.Status) (roles map[upgrade.Role]int, active int) {
	roles = map[upgrade.Role]int{
		upgrade.RoleCandidate: 0, upgrade.RoleActive: 0, upgrade.RolePaused: 0,
		upgrade.RoleDraining: 0, upgrade.RoleRestarting: 0, upgrade.RoleKilled: 0,
	}
	for _, g := range s.Generations {
		roles[g.Role]++
		if g.Role == upgrade.RoleActive {
			active = g.Generation
		}
	}
	return roles, active
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
