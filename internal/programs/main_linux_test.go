package programs

import (
	"os"
	"testing"

	"example.com/supervisor/internal/leaktest"
)

// TestMain fails when a test leaves a descriptor open or a process behind.
func TestMain(m *testing.M) { os.Exit(leaktest.RunWithProcesses(m)) }
