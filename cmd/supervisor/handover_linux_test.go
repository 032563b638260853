package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestSignalBeforeTheExecGoesFirst: one that this program has caught and not
// heeded would end with it.
func TestSignalBeforeTheExecGoesFirst(t *testing.T) {
	t.Parallel()
	h := &host{signals: make(chan os.Signal, 1)}
	came := make(chan os.Signal, 2)
	came <- syscall.SIGPIPE // means nothing
	if err := h.executeWith("/nowhere", nil, nil, nil, came); err == nil || !strings.Contains(err.Error(), "cannot execute /nowhere") {
		t.Errorf("got %v", err)
	}
	came <- syscall.SIGTERM
	if err := h.executeWith("/nowhere", nil, nil, nil, came); err == nil || !strings.Contains(err.Error(), "signal 15 (terminated) came at the same moment") {
		t.Errorf("got %v", err)
	}
}
