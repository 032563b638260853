package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"example.com/supervisor/cmd/supervisor/internal/config"
)

// TestJournalThatCannotBeReachedStopsNobody: standard error is the journal's, and
// there is no socket of it, or there is one.
func TestJournalThatCannotBeReachedStopsNobody(t *testing.T) {
	t.Parallel()
	info, err := os.Stderr.Stat()
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	getenv := func(string) string { return fmt.Sprintf("%d:%d", st.Dev, st.Ino) }
	var out strings.Builder
	log, err := newLogger(config.Config{Name: "web", LogFormat: "auto", LogLevel: "info"}, &out, getenv)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/run/systemd/journal/socket"); err == nil {
		return
	}
	log.Info("hello")
	if !strings.Contains(out.String(), "msg=hello") {
		t.Errorf("logged %q", out.String())
	}
}

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
