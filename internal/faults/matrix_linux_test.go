package faults

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// tries is how often a fault may miss its phase.
const tries = 3

// A result is what became of a cell.
type result struct {
	row        string
	phase      phase
	want       expectation
	got        observation
	objections []string // none: it is held
	notRun     string   // why it was not run; "" if it was
}

// TestFaults runs the cells of the selection. With SUPERVISOR_TEST_FAULTS=all it
// runs those of the matrix whose fault and phase match SUPERVISOR_TEST_FAULT and
// SUPERVISOR_TEST_PHASE, and if that leaves none out, writes docs/faults.md.
func TestFaults(t *testing.T) {
	t.Parallel()
	rows, err := parseMatrix(matrix)
	if err != nil {
		t.Fatal(err)
	}
	chosen, whole := chosenCells()
	built := build(t)
	var results []*result
	t.Run("cells", func(t *testing.T) {
		for _, r := range rows {
			f := faultOf(t, r.fault)
			for _, p := range phases() {
				want, possible := r.cells[p]
				if !possible || !chosen(r.fault, p) {
					continue
				}
				res := &result{row: r.fault, phase: p, want: want, objections: []string{"the run did not come to its end"}}
				results = append(results, res)
				t.Run(r.fault+"/"+string(p), func(t *testing.T) {
					t.Parallel()
					if f.notRun != nil {
						if res.notRun = f.notRun(); res.notRun != "" {
							t.Skip("not run: " + res.notRun)
						}
					}
					res.run(t, built, f)
				})
			}
		}
	})
	if whole {
		if err := os.WriteFile("../../docs/faults.md", document(rows, results), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// run runs the cell, again if the fault missed its phase.
func (r *result) run(t *testing.T, built programs, f fault) {
	for try := 1; ; try++ {
		t.Run(fmt.Sprintf("try %d", try), func(t *testing.T) {
			r.got = play(t, built, f, r.phase, r.want)
			if !r.got.missed {
				r.judge(t)
			}
		})
		if t.Failed() || !r.got.missed {
			return
		}
		if try == tries {
			r.objections = []string{"the fault missed its phase: " + r.got.phase}
			t.Errorf("not held: %s", r.objections[0])
			return
		}
	}
}

func (r *result) judge(t *testing.T) {
	t.Helper()
	o := r.got
	r.objections = judge(r.want, o)
	t.Logf("expected: %s", r.want)
	t.Logf("came: %s, %s serves; %d requests, %d failed (%s), %d its own and %d perhaps, %d in the gap; longest wait %v; clients well after %v, supervisor after %v",
		o.verdict, o.server, o.requests, o.failed, o.kinds, o.own, o.unnoted, o.gap, o.slowest, o.clients, o.supervisor)
	for _, what := range r.objections {
		t.Errorf("not held: %s", what)
	}
}

// chosenCells tells which cells are to be run, and whether these are all.
func chosenCells() (chosen func(fault string, p phase) bool, whole bool) {
	if os.Getenv("SUPERVISOR_TEST_FAULTS") != "all" {
		cells := strings.Split(strings.TrimSpace(selection), "\n")
		return func(name string, p phase) bool { return slices.Contains(cells, name+": "+string(p)) }, false
	}
	f, p := os.Getenv("SUPERVISOR_TEST_FAULT"), os.Getenv("SUPERVISOR_TEST_PHASE")
	names, places := regexp.MustCompile(f), regexp.MustCompile(p)
	return func(name string, in phase) bool { return names.MatchString(name) && places.MatchString(string(in)) }, f+p == ""
}

// faultOf is the fault of that name.
func faultOf(t *testing.T, name string) fault {
	t.Helper()
	all := faults()
	i := slices.IndexFunc(all, func(f fault) bool { return f.name == name })
	if i < 0 {
		t.Fatalf("there is no fault %q", name)
	}
	return all[i]
}
