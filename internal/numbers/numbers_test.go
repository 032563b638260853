package numbers

import (
	"runtime"
	"testing"
)

func TestFromEnv(t *testing.T) {
	const variable = "NUMBERS_TEST"
	for text, want := range map[string]uint64{"": 7, "0": 0, "12": 12} {
		t.Setenv(variable, text)
		if got := FromEnv(t, variable, 7); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestFromMetrics(t *testing.T) {
	t.Parallel()
	const text = "# HELP a_b what a_b is\na_b_c 1\na_b 2.5e+06\na_b{l=\"3\"} 4\nb 5\n"
	for name, want := range map[string]float64{"a_b": 2.5e6, "a_b_c": 1, "b": 5} {
		if got := FromMetrics(t, text, name); got != want {
			t.Errorf("%s: %g, want %g", name, got, want)
		}
	}
}

// TestWhatIsNoNumberEndsTheTest: what is not there is not 0.
func TestWhatIsNoNumberEndsTheTest(t *testing.T) {
	for what, read := range map[string]func(testing.TB){
		"a variable": func(tb testing.TB) { FromEnv(tb, "NUMBERS_TEST", 7) },
		"a metric":   func(tb testing.TB) { FromMetrics(tb, "a_b 1\n", "a") },
		"its value":  func(tb testing.TB) { FromMetrics(tb, "a_b b\n", "a_b") },
	} {
		t.Setenv("NUMBERS_TEST", "-1")
		ended := make(chan bool)
		go func() { // joined below
			f := &failing{TB: t}
			defer func() { ended <- f.failed }()
			read(f)
		}()
		if !<-ended {
			t.Errorf("%s that is none goes unnoticed", what)
		}
	}
}

// A failing is a test that only notes that it failed.
type failing struct {
	testing.TB
	failed bool
}

func (f *failing) Helper() {}

func (f *failing) Fatal(...any) { f.fail() }

func (f *failing) Fatalf(string, ...any) { f.fail() }

func (f *failing) fail() {
	f.failed = true
	runtime.Goexit()
}
