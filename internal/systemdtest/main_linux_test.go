package systemdtest

import (
	"testing"

	"example.com/supervisor/internal/leaktest"
)

func TestMain(m *testing.M) { Main(checked{m}) }

// checked fails when a test leaves a descriptor open.
type checked struct{ *testing.M }

func (c checked) Run() int { return leaktest.Run(c.M, nil) }
