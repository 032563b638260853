package health

import "time"

// Quantile bounds a quantile (q from 0 to 1) of a histogram in the buckets of
// SojournBuckets: at least that part of what it counts was shorter than bound.
// For what is in the last bucket, bound is where that begins. ok is false if
// the histogram is empty.
func Quantile(buckets []uint64, q float64) (bound time.Duration, ok bool) {
	buckets = buckets[:min(len(buckets), SojournBuckets)]
	total := 0.0
	for _, n := range buckets {
		total += float64(n)
	}
	if total == 0 {
		return 0, false
	}
	wanted, sum, last := q*total, 0.0, 0
	for i, n := range buckets {
		if n == 0 {
			continue
		}
		sum, last = sum+float64(n), i
		if sum >= wanted {
			break
		}
	}
	return bucketBound(last), true
}

// bucketBound is what the durations in bucket i are less than; for the last
// one, what they are at least.
func bucketBound(i int) time.Duration {
	return time.Millisecond << min(i, SojournBuckets-2)
}
