package faults

import (
	"slices"
	"strings"
	"testing"
)

// good is an observation of a fault that cost its own requests.
func good() observation {
	return observation{verdict: "rolled-back", server: serverOld, requests: 500, failed: 4, kinds: "4 eof", own: 3, unnoted: 1, next: "committed"}
}

// TestJudge: a cell is held only if all of what is seen is as expected.
func TestJudge(t *testing.T) {
	t.Parallel()
	want, err := parseExpectation("rolled-back own")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change    func(*observation)
		objection string // a part of the only one; "" for none
	}{
		{func(*observation) {}, ""},
		{func(o *observation) { o.verdict, o.reason = "aborted", "why" }, "aborted instead of rolled-back: why"},
		{func(o *observation) { o.server = serverRestarted }, `"restarted" serves instead of "old"`},
		{func(o *observation) { o.server = "" }, `"" serves`},
		{func(o *observation) { o.failed++ }, "5 requests failed (4 eof), of which 4 may"},
		{func(o *observation) { o.failed, o.unnoted, o.gap = 5, 1, 5 }, "of which 4 may"},
		{func(o *observation) { o.requests = 0 }, "no traffic"},
		{func(o *observation) { o.next = "refused: a queue stands" }, "the next upgrade: refused: a queue stands"},
		{func(o *observation) { o.remedies = "aborted" }, "did not help"},
		{func(o *observation) { o.left = []string{"process 7"} }, "left behind: process 7"},
	} {
		o := good()
		c.change(&o)
		objections := judge(want, o)
		if c.objection == "" && len(objections) == 0 || len(objections) == 1 && strings.Contains(objections[0], c.objection) {
			continue
		}
		t.Errorf("%+v: %q, want %q", o, objections, c.objection)
	}
}

// TestLosses: what may fail depends on what is expected.
func TestLosses(t *testing.T) {
	t.Parallel()
	for text, allowed := range map[string]uint64{"committed": 0, "committed own": 3, "committed gap": 5} {
		want, err := parseExpectation(text)
		if err != nil {
			t.Fatal(err)
		}
		o := observation{verdict: "committed", server: serverNew, requests: 500, failed: allowed, own: 2, unnoted: 1, gap: 5, next: "committed"}
		if objections := judge(want, o); len(objections) > 0 {
			t.Errorf("%s, %d failed: %q", text, o.failed, objections)
		}
		o.failed++
		if objections := judge(want, o); len(objections) != 1 {
			t.Errorf("%s, %d failed: %q", text, o.failed, objections)
		}
	}
}

// TestParseExpectation: the words of a cell, and those that are none.
func TestParseExpectation(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"aborted":                       "aborted, loses nothing, old serves",
		"committed/aborted own":         "committed or aborted, loses its own, new or old serves",
		"committed own restarted":       "committed, loses its own, restarted serves",
		"none +force":                   "none, loses nothing, next serves, after upgrade --force",
		"none gap":                      "none, loses the gap, old serves",
		"":                              "says nothing",
		"comitted":                      `unknown verdict "comitted"`,
		"committed twice":               `unknown word "twice"`,
		"rolled-back new +undo":         "rolled-back, loses nothing, new serves, after the fault taken back",
		"committed own +upgrade":        "committed, loses its own, next serves, after upgrade",
		"refused":                       "refused, loses nothing, old serves",
		"committed gap restarted +undo": "committed, loses the gap, restarted serves, after the fault taken back",
	} {
		e, err := parseExpectation(text)
		got := e.String()
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// TestMatrix: every fault has a row, every row a fault, every cell of the selection
// is one of the matrix; each fault and each phase is in it.
func TestMatrix(t *testing.T) {
	t.Parallel()
	rows, err := parseMatrix(matrix)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range faults() {
		names = append(names, f.name)
	}
	selected := strings.Split(strings.TrimSpace(selection), "\n")
	times := map[phase]int{}
	for _, r := range rows {
		if i := slices.Index(names, r.fault); i < 0 {
			t.Errorf("nothing injects %q", r.fault)
		} else {
			names = slices.Delete(names, i, i+1)
		}
		found := false
		for p := range r.cells {
			if i := slices.Index(selected, r.fault+": "+string(p)); i >= 0 {
				selected = slices.Delete(selected, i, i+1)
				found = true
				times[p]++
			}
		}
		if !found {
			t.Errorf("%s is not in the selection", r.fault)
		}
	}
	if len(names) > 0 || len(selected) > 0 {
		t.Errorf("without a row: %q; in the selection, and no cell: %q", names, selected)
	}
	for _, p := range phases() {
		if times[p] < 2 {
			t.Errorf("the selection has the phase %s %d times", p, times[p])
		}
	}
}
