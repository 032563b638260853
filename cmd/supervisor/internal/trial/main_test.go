package trial

import (
	"flag"
	"os"
	"testing"

	"example.com/supervisor/internal/leaktest"
)

var update = flag.Bool("update", false, "rewrite testdata")

// TestMain fails when a test leaves a descriptor open.
func TestMain(m *testing.M) { os.Exit(leaktest.Run(m, nil)) }
