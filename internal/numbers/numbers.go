// Package numbers reads those that tests are given: by whoever runs them, and by
// what they test.
package numbers

import (
	"cmp"
	"os"
	"regexp"
	"strconv"
	"testing"
)

// FromEnv is what an environment variable says, or otherwise if that is not set. The
// test ends if it says no number.
func FromEnv(tb testing.TB, variable string, otherwise uint64) uint64 {
	tb.Helper()
	n, err := strconv.ParseUint(cmp.Or(os.Getenv(variable), strconv.FormatUint(otherwise, 10)), 10, 63) // an int holds it
	if err != nil {
		tb.Fatalf("%s: %v", variable, err)
	}
	return n
}

// FromMetrics is the value of a metric without labels in a text for Prometheus. The
// test ends if it is not there.
func FromMetrics(tb testing.TB, text, name string) float64 {
	tb.Helper()
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(text)
	if found == nil {
		tb.Fatalf("there is no metric %s", name)
	}
	n, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}
