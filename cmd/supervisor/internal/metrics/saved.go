package metrics

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// maxSeries is how many series of one metric are restored at most. A supervisor
// makes some dozens.
const maxSeries = 1000

// saved is what Save writes: the metrics by name.
type saved struct {
	Values     map[string][]savedValue `json:"values"`
	Histograms map[string]savedSpread  `json:"histograms"`
}

type savedValue struct {
	Labels []string `json:"labels,omitempty"`
	Value  float64  `json:"value"`
}

type savedSpread struct {
	Bounds []float64     `json:"bounds"`
	Series []savedCounts `json:"series"`
}

type savedCounts struct {
	Labels []string `json:"labels,omitempty"`
	// Counts are how many there were up to each bound and above the one before
	// it, and last those above all.
	Counts []uint64 `json:"counts"`
	Sum    float64  `json:"sum"`
}

// Save returns all that was counted here, for Restore in the process that takes
// this one's place. What is counted afterwards is not in it.
func (m *Metrics) Save() (json.RawMessage, error) {
	s := saved{Values: map[string][]savedValue{}, Histograms: map[string]savedSpread{}}
	for _, t := range m.tallies() {
		s.Values[t.name] = t.save()
	}
	for _, h := range m.spreads() {
		s.Histograms[h.name] = h.save()
	}
	text, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("cannot save the metrics: %w", err)
	}
	return text, nil
}

// Restore goes on from what Save wrote. It is called once, before anything is
// counted. A value that cannot be is an error, and nothing is restored. A metric
// that is not known here is left out; a histogram that has other buckets here
// begins anew.
func (m *Metrics) Restore(text json.RawMessage) error {
	s, err := m.check(text)
	if err != nil {
		return fmt.Errorf("cannot restore the metrics: %w", err)
	}
	for _, t := range m.tallies() {
		t.restore(s.Values[t.name])
	}
	for _, h := range m.spreads() {
		if from := s.Histograms[h.name]; slices.Equal(from.Bounds, h.bounds) {
			h.restore(from.Series)
		}
	}
	return nil
}

// Check says why Restore would fail.
func (m *Metrics) Check(text json.RawMessage) error {
	_, err := m.check(text)
	return err
}

func (m *Metrics) check(text json.RawMessage) (saved, error) {
	var s saved
	if text = bytes.TrimSpace(text); len(text) == 0 || text[0] != '{' {
		return saved{}, errors.New("they are no JSON object")
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return saved{}, err
	}
	for _, t := range m.tallies() {
		if err := checkValues(s.Values[t.name], len(t.labels), t.kind == prometheus.CounterValue); err != nil {
			return saved{}, fmt.Errorf("%s: %w", t.name, err)
		}
	}
	for _, h := range m.spreads() {
		if err := checkSpread(s.Histograms[h.name], len(h.labels)); err != nil {
			return saved{}, fmt.Errorf("%s: %w", h.name, err)
		}
	}
	return s, nil
}

func checkValues(values []savedValue, labels int, counter bool) error {
	seen := map[string]bool{}
	for _, v := range values {
		if err := checkLabels(v.Labels, labels, seen); err != nil {
			return err
		}
		if counter && v.Value < 0 {
			return fmt.Errorf("the value of %q cannot be %v", v.Labels, v.Value)
		}
	}
	return nil
}

func checkSpread(s savedSpread, labels int) error {
	seen := map[string]bool{}
	for _, c := range s.Series {
		if err := checkLabels(c.Labels, labels, seen); err != nil {
			return err
		}
		if len(c.Counts) != len(s.Bounds)+1 {
			return fmt.Errorf("%q has %d counts for %d bounds", c.Labels, len(c.Counts), len(s.Bounds))
		}
		total := uint64(0)
		for _, n := range c.Counts {
			if n > math.MaxUint64-total {
				return fmt.Errorf("the counts of %q are too many", c.Labels)
			}
			total += n
		}
		if c.Sum < 0 || total == 0 && c.Sum != 0 {
			return fmt.Errorf("the sum of %q cannot be %v for %d", c.Labels, c.Sum, total)
		}
	}
	return nil
}

// checkLabels says why a series cannot have these labels; seen are those before.
func checkLabels(labels []string, want int, seen map[string]bool) error {
	key := strings.Join(labels, "\x00")
	switch {
	case len(labels) != want:
		return fmt.Errorf("%q are %d labels, not %d", labels, len(labels), want)
	case strings.Count(key, "\x00") > max(0, want-1):
		return fmt.Errorf("a label of %q contains a NUL byte", labels)
	case seen[key]:
		return fmt.Errorf("%q is there twice", labels)
	case len(seen) == maxSeries:
		return fmt.Errorf("there are more than %d series", maxSeries)
	}
	seen[key] = true
	return nil
}

func (t *tally) save() []savedValue {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]savedValue, 0, len(t.series))
	for _, v := range t.series {
		all = append(all, savedValue{v.labels, v.value})
	}
	return all
}

func (t *tally) restore(all []savedValue) {
	for _, v := range all {
		t.set(v.Value, v.Labels...)
	}
}

func (s *spread) save() savedSpread {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := savedSpread{Bounds: s.bounds, Series: make([]savedCounts, 0, len(s.series))}
	for _, c := range s.series {
		all.Series = append(all.Series, savedCounts{c.labels, slices.Clone(c.counts), c.sum})
	}
	return all
}

func (s *spread) restore(all []savedCounts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, from := range all {
		c := s.at(from.Labels)
		c.counts, c.sum = slices.Clone(from.Counts), from.Sum
	}
}
