package main

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestLogThatNobodyReadsHoldsUpNobody: the first line that is not read costs a
// second, and the others nothing; what there is room for is read later, in order,
// and the rest is counted.
func TestLogThatNobodyReadsHoldsUpNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, out := io.Pipe()
		w := newPatientWriter(out)
		began := time.Now()
		const all = logBacklog + 100
		for i := range all {
			fmt.Fprintf(w, "line %d\n", i)
		}
		if took := time.Since(began); took != logPatience {
			t.Errorf("it took %v", took)
		}
		read := make(chan string)
		go func() {
			text, _ := io.ReadAll(r)
			read <- string(text)
		}()
		synctest.Wait()
		fmt.Fprintln(w, "the end")
		w.end()
		out.Close()
		lines := strings.Split(<-read, "\n")
		kept := logBacklog + 1 // one more was being written
		for i, l := range lines[:kept] {
			if l != fmt.Sprintf("line %d", i) {
				t.Fatalf("line %d is %q", i, l)
			}
		}
		want := []string{fmt.Sprintf("%d lines of the log are lost here: nobody read them", all-kept), "the end", ""}
		if got := lines[kept:]; strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("the last lines are %q, want %q", got, want)
		}
	})
}

// TestLineIsWrittenWhenItIsSaid: as long as somebody reads.
func TestLineIsWrittenWhenItIsSaid(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	w := newPatientWriter(&out)
	for range 100 {
		before := out.Len()
		fmt.Fprintln(w, "said")
		if out.Len() != before+len("said\n") {
			t.Fatal("it returned before the line was written")
		}
	}
	w.end()
}

// TestEndDoesNotWaitForever: for one who does not read.
func TestEndDoesNotWaitForever(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, out := io.Pipe()
		w := newPatientWriter(out)
		fmt.Fprintln(w, "never read")
		began := time.Now()
		w.end()
		if took := time.Since(began); took != logPatience {
			t.Errorf("it took %v", took)
		}
		r.Close()
	})
}
