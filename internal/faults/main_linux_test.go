package faults

import (
	"flag"
	"os"
	"strconv"
	"testing"

	"example.com/supervisor/internal/leaktest"
)

// atOnce is how many runs there are at the same time, unless -parallel says it.
const atOnce = 6

// TestMain fails when a test leaves a descriptor open or a process behind.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue { // runs wait, mostly
		_ = f.Value.Set(strconv.Itoa(atOnce))
	}
	os.Exit(leaktest.RunWithProcesses(m))
}
