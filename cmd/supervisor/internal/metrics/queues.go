package metrics

import (
	"math"
	"strconv"

	"example.com/supervisor/health"
	"github.com/prometheus/client_golang/prometheus"
)

// queueCollector turns the figures of the accept queues into metrics at each
// scrape.
type queueCollector struct {
	figures  func() []health.Figures
	counters func() (health.Counters, bool)

	depth, limit, oldest, headroom, arrivals, drops, sojourn *prometheus.Desc
	overflows, listenDrops, cookies, synDrops                *prometheus.Desc
}

func newQueueCollector(figures func() []health.Figures, counters func() (health.Counters, bool)) *queueCollector {
	queue := func(name, help string, more ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"listener"}, more...), nil)
	}
	namespace := func(name, what string) *prometheus.Desc {
		return prometheus.NewDesc(name, what+", in the whole network namespace: of every listener there, whoever holds it.", nil, nil)
	}
	return &queueCollector{
		figures: figures, counters: counters,
		depth:    queue("supervisor_queue_depth", "Connections that wait to be accepted."),
		limit:    queue("supervisor_queue_limit", "What listen(2) got; the queue holds one more."),
		oldest:   queue("supervisor_queue_oldest_seconds", "How long the oldest waiting connection has waited, in steps of a jiffy; absent where it was not seen."),
		headroom: queue("supervisor_queue_headroom_seconds", "How long the queue would take to fill if nobody accepted; absent where the arrivals are not known or none come."),
		arrivals: queue("supervisor_queue_arrivals_per_second", "New connections per second, smoothed; absent until known."),
		drops:    queue("supervisor_queue_drops_total", "Packets that the listener discarded for want of room since the supervisor's start; a client that waits is counted again with each attempt."),
		sojourn: queue("supervisor_accept_sojourn_seconds",
			"How long accepted connections had waited, as generations report it, in steps of a jiffy. The sum is estimated from the middles of the buckets.", "generation"),
		overflows:   namespace("supervisor_namespace_listen_overflows_total", "Packets that found an accept queue full"),
		listenDrops: namespace("supervisor_namespace_listen_drops_total", "Packets that a listener discarded, for whatever reason"),
		cookies:     namespace("supervisor_namespace_syncookies_sent_total", "SYN cookies sent because a SYN queue was full"),
		synDrops:    namespace("supervisor_namespace_syn_queue_drops_total", "SYNs dropped because a SYN queue was full"),
	}
}

// Describe tells which metrics there are.
func (c *queueCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.depth, c.limit, c.oldest, c.headroom, c.arrivals, c.drops, c.sojourn,
		c.overflows, c.listenDrops, c.cookies, c.synDrops,
	} {
		out <- d
	}
}

// Collect asks for the figures and sends them.
func (c *queueCollector) Collect(out chan<- prometheus.Metric) {
	if c.figures != nil {
		for _, f := range c.figures() {
			c.queue(f, out)
		}
	}
	if c.counters == nil {
		return
	}
	if n, ok := c.counters(); ok {
		c.namespace(n, out)
	}
}

// queue sends what is known of one listener.
func (c *queueCollector) queue(f health.Figures, out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, f.Name)
	}
	o := f.Observation
	gauge(c.depth, float64(o.Depth))
	gauge(c.limit, float64(o.Limit))
	if d, ok := f.Oldest(); ok {
		gauge(c.oldest, d.Seconds())
	}
	if d, ok := o.Headroom(); ok {
		gauge(c.headroom, d.Seconds())
	}
	if o.Arrivals >= 0 {
		gauge(c.arrivals, o.Arrivals)
	}
	if f.DropsKnown {
		out <- prometheus.MustNewConstMetric(c.drops, prometheus.CounterValue, float64(f.Drops), f.Name)
	}
	for _, g := range f.Generations {
		if len(g.Sojourn) > 0 {
			count, sum, buckets := histogram(g.Sojourn)
			out <- prometheus.MustNewConstHistogram(c.sojourn, count, sum, buckets, f.Name, strconv.Itoa(g.Generation))
		}
	}
}

// shownBuckets is how many bounds the sojourn histogram has: up to 65.536 s, so
// that a series is not made for what hardly any client waits for.
const shownBuckets = 17

// histogram is a histogram of health as Prometheus has it: cumulative, with
// upper bounds in seconds.
func histogram(counts []uint64) (count uint64, sum float64, buckets map[float64]uint64) {
	buckets = make(map[float64]uint64, shownBuckets)
	for i := range max(len(counts), shownBuckets) {
		bound := math.Ldexp(0.001, i)
		if i < len(counts) {
			count += counts[i]
			sum += float64(counts[i]) * middle(i, bound)
		}
		if i < shownBuckets {
			buckets[bound] = count
		}
	}
	return count, sum, buckets
}

// middle is the middle of bucket i below bound, in seconds; the longest waits
// have no bound, and theirs is taken for the least of it.
func middle(i int, bound float64) float64 {
	switch i {
	case 0:
		return bound / 2
	case health.SojournBuckets - 1:
		return bound / 2
	}
	return bound * 3 / 4
}

// namespace sends what all listeners of the network namespace have in common.
func (c *queueCollector) namespace(n health.Counters, out chan<- prometheus.Metric) {
	for d, value := range map[*prometheus.Desc]uint64{
		c.overflows: n.ListenOverflows, c.listenDrops: n.ListenDrops,
		c.cookies: n.SyncookiesSent, c.synDrops: n.ReqQFullDrop,
	} {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value))
	}
}
