package scale

import (
	"fmt"
	"os"
	"testing"

	"example.com/supervisor/internal/leaktest"
	"example.com/supervisor/internal/numbers"
)

// TestMain makes the test binary a holder of connections where it is started as
// one, because a process may have so many descriptors only. As a test it fails when
// a descriptor is left open.
func TestMain(m *testing.M) {
	if order := os.Getenv(holderEnv); order != "" {
		if err := beHolder(order, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(leaktest.Run(m, nil))
}

// Variables that make the long forms, which make sets.
const (
	// longEnv makes TestGrowth as long as make scale has it.
	longEnv = "SUPERVISOR_SCALE"
	// requestsEnv and upgradesEnv are how many TestMillion and TestUpgradesInARow do.
	requestsEnv, upgradesEnv = "SUPERVISOR_SCALE_REQUESTS", "SUPERVISOR_SCALE_UPGRADES"
	// documentsEnv is the folder of the documents that the figures are written to.
	documentsEnv = "SUPERVISOR_SCALE_DOCS"
)

func isLong() bool { return os.Getenv(longEnv) != "" }

// amount is how many of something the long form has, or short.
func amount(tb testing.TB, env string, short int) int {
	tb.Helper()
	n := int(numbers.FromEnv(tb, env, uint64(short)))
	if n < 1 {
		tb.Fatalf("%s must be at least 1: %d", env, n)
	}
	return n
}
