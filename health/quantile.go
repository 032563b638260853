package health

import "time"

// Quantile bounds a quantile of a histogram in the buckets of SojournBuckets
// from above; ok is false if it is empty.
func Quantile(buckets []uint64, q float64) (bound time.Duration, ok bool) { return 0, false }
