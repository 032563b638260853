package load

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"example.com/supervisor/internal/leaktest"
)

// TestMain fails when a test leaves a descriptor open or a goroutine running.
func TestMain(m *testing.M) {
	if os.Getenv(serverEnv) != "" {
		os.Exit(serveUntilStdinEnds())
	}
	goroutines := runtime.NumGoroutine()
	code := leaktest.Run(m, nil)
	if fuzz := flag.Lookup("test.fuzz"); fuzz.Value.String() != "" {
		os.Exit(code) // of a coordinator that watches for signals
	}
	if n := settledGoroutines(goroutines); n > goroutines {
		stacks := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "tests left %d goroutines:\n%s\n", n-goroutines, stacks[:runtime.Stack(stacks, true)])
		code = 1
	}
	os.Exit(code)
}

// settledGoroutines gives goroutines that were told to end the time to do so.
func settledGoroutines(want int) int {
	for deadline := time.Now().Add(2 * time.Second); runtime.NumGoroutine() > want && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	return runtime.NumGoroutine()
}
