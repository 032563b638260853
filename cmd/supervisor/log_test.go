package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestOwnLinesAreRemembered(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	l := &ownLog{out: &out}
	for i := range rememberedLines + 10 {
		fmt.Fprintf(l, "line %d\nand more of %d\n", i, i)
	}
	for line, want := range map[string]bool{
		"line 265": true, "and more of 265": true, "line 138": true,
		"line 137": false, "line 26": false, "line 265\n": false, "": false,
	} {
		if l.wrote(line) != want {
			t.Errorf("%q: %v, want %v", line, !want, want)
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 2*(rememberedLines+10) {
		t.Errorf("passed %d lines on", n)
	}
}
