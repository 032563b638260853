package main

import (
	"testing"

	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/cmd/supervisor/internal/handover"
	"example.com/supervisor/upgrade"
)

// TestStateIsCheckedWhole: what a supervisor would refuse, or end of, after the
// exec is refused before.
func TestStateIsCheckedWhole(t *testing.T) {
	t.Parallel()
	state := handover.State{Supervisor: upgrade.State{
		Service: "web", Machine: upgrade.MachineState{Phase: upgrade.PhaseIdle}, Callers: []upgrade.CallerState{{Request: 7}},
	}}
	cfg := config.Config{Name: "web"}
	if err := suits(state, cfg); err == nil || err.Error() != "request 7 has never been made" {
		t.Errorf("the error is %v", err)
	}
	state.Supervisor.LastRequest = 7
	if err := suits(state, cfg); err != nil {
		t.Errorf("the error is %v", err)
	}
}
