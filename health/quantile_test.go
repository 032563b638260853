package health

import (
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	t.Parallel()
	last := make([]uint64, SojournBuckets)
	last[SojournBuckets-1] = 3
	tests := []struct {
		name    string
		buckets []uint64
		q       float64
		want    time.Duration
		ok      bool
	}{
		{"nothing", nil, 0.5, 0, false},
		{"all zero", make([]uint64, SojournBuckets), 0.5, 0, false},
		{"below 1 ms", []uint64{7}, 0.99, ms, true},
		{"99 of 100", []uint64{99, 0, 0, 1}, 0.99, ms, true},
		{"98 of 100", []uint64{98, 0, 0, 2}, 0.99, 8 * ms, true},
		{"the least", []uint64{0, 0, 5, 5}, 0, 4 * ms, true},
		{"the greatest", []uint64{0, 5, 5, 0}, 1, 4 * ms, true},
		{"more than all", []uint64{0, 5, 5, 0}, 2, 4 * ms, true},
		{"the last has no end", last, 0.5, (1 << 22) * ms, true},
		{"more than there are", append(make([]uint64, SojournBuckets), 1), 0.5, 0, false},
	}
	for _, test := range tests {
		if got, ok := Quantile(test.buckets, test.q); got != test.want || ok != test.ok {
			t.Errorf("%s: %v %v, want %v %v", test.name, got, ok, test.want, test.ok)
		}
	}
}
