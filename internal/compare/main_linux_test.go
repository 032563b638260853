package compare

import (
	"testing"

	"example.com/supervisor/internal/leaktest"
	"example.com/supervisor/internal/systemdtest"
)

func TestMain(m *testing.M) { systemdtest.Main(tidy{m}) }

// A tidy run of the tests leaves no descriptor open and no process behind. The
// versions of a service that upgrades itself become children of this process.
type tidy struct{ m *testing.M }

func (t tidy) Run() int { return leaktest.RunWithProcesses(t.m) }
