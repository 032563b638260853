package metrics

import (
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// A tally is a metric with one value for each set of labels, which can be saved
// and restored, as those of client_golang cannot. The methods may be called
// concurrently.
type tally struct {
	name   string
	labels []string
	kind   prometheus.ValueType
	desc   *prometheus.Desc

	mu     sync.Mutex // guards what follows
	series map[string]*value
}

// value is one series of a tally.
type value struct {
	labels []string
	value  float64
}

func newTally(kind prometheus.ValueType, name, help string, labels ...string) *tally {
	t := &tally{name: name, labels: labels, kind: kind, desc: prometheus.NewDesc(name, help, labels, nil), series: map[string]*value{}}
	if len(labels) == 0 {
		t.add(0)
	}
	return t
}

// add adds n to the series of the labels; 0 makes it be shown.
func (t *tally) add(n float64, labels ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at(labels).value += n
}

// set is add for what is no sum.
func (t *tally) set(n float64, labels ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at(labels).value = n
}

func (t *tally) at(labels []string) *value {
	key := strings.Join(labels, "\x00")
	v := t.series[key]
	if v == nil {
		v = &value{labels: slices.Clone(labels)}
		t.series[key] = v
	}
	return v
}

// Describe tells which metric it is.
func (t *tally) Describe(out chan<- *prometheus.Desc) { out <- t.desc }

// Collect sends the values.
func (t *tally) Collect(out chan<- prometheus.Metric) {
	for _, v := range t.save() {
		out <- prometheus.MustNewConstMetric(t.desc, t.kind, v.Value, v.Labels...)
	}
}

// A spread is a histogram for each set of labels, which can be saved and
// restored. The methods may be called concurrently.
type spread struct {
	name   string
	labels []string
	bounds []float64 // upper, ascending
	desc   *prometheus.Desc

	mu     sync.Mutex // guards what follows
	series map[string]*counts
}

// counts is one series of a spread.
type counts struct {
	labels []string
	counts []uint64 // per bound, and of what is above all
	sum    float64
}

func newSpread(name, help string, bounds []float64, labels ...string) *spread {
	s := &spread{name: name, labels: labels, bounds: bounds, desc: prometheus.NewDesc(name, help, labels, nil), series: map[string]*counts{}}
	if len(labels) == 0 {
		s.at(nil)
	}
	return s
}

func (s *spread) observe(n float64, labels ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.at(labels)
	i, _ := slices.BinarySearch(s.bounds, n) // a bound belongs to what is below it
	c.counts[i]++
	c.sum += n
}

func (s *spread) at(labels []string) *counts {
	key := strings.Join(labels, "\x00")
	c := s.series[key]
	if c == nil {
		c = &counts{labels: slices.Clone(labels), counts: make([]uint64, len(s.bounds)+1)}
		s.series[key] = c
	}
	return c
}

// Describe tells which metric it is.
func (s *spread) Describe(out chan<- *prometheus.Desc) { out <- s.desc }

// Collect sends the histograms.
func (s *spread) Collect(out chan<- prometheus.Metric) {
	for _, c := range s.save().Series {
		buckets, total := make(map[float64]uint64, len(s.bounds)), uint64(0)
		for i, n := range c.Counts {
			total += n
			if i < len(s.bounds) {
				buckets[s.bounds[i]] = total
			}
		}
		out <- prometheus.MustNewConstHistogram(s.desc, total, c.Sum, buckets, c.Labels...)
	}
}
