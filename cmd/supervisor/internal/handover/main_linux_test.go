package handover

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"example.com/supervisor/internal/leaktest"
	"example.com/supervisor/upgrade"
)

// TestMain fails when a test leaves a descriptor open.
func TestMain(m *testing.M) {
	os.Exit(leaktest.Run(m, nil))
}

// sample is the state of a supervisor that has three generations, a caller who
// waits and ten reports.
func sample() State {
	at := time.Date(2026, 11, 23, 12, 0, 0, 123456789, time.UTC)
	release := upgrade.Release{
		Program: upgrade.Program{Command: []string{"bin/shop", "-config", "/etc/shop.toml"}, Dir: "/srv/shop/current", Env: []string{"GOMAXPROCS=4"}},
		Path:    "/srv/shop/releases/2026-11-23/bin/shop", BuildID: "0123456789ab", File: "64513:1234567:10485760:1700000000000000000",
	}
	generation := func(n int, timer upgrade.TimerID) upgrade.GenerationState {
		return upgrade.GenerationState{Number: n, Release: release, Ready: true, CanPause: true, Timer: timer}
	}
	active := generation(3, 0)
	s := State{
		Writer: "v1.2.3", Boot: "af30a6a4-4f8a-4f4e-8d44-0123456789ab", Written: 5 * time.Hour,
		Supervisor: upgrade.State{
			Service: "shop", Started: at, LastRequest: 12,
			Machine: upgrade.MachineState{
				Phase: upgrade.PhaseIdle, Active: &active, Draining: []upgrade.GenerationState{generation(1, 7), generation(2, 9)},
				Release: &release, Previous: &release, Generations: 3, Serial: 10,
			},
			Timers: []upgrade.TimerState{{Timer: 7, At: 6 * time.Hour}, {Timer: 9, At: 6 * time.Hour}},
			Callers: []upgrade.CallerState{{Request: 12, Kind: upgrade.KindUpgrade, Note: "change 4711 <b>", Started: at,
				Phases: []upgrade.PhaseTime{{Phase: upgrade.PhaseStart, Seconds: 0.25}}, Phase: upgrade.PhaseDrain, PhaseSince: at}},
		},
		Listeners: []Listener{
			{Name: "http", Network: "tcp", Address: "[::]:80", Cookie: 77, FD: 5, Kept: true},
			{Name: "admin", Network: "unix", Address: "/run/shop/admin.sock", Cookie: 78, FD: 6, Spec: "admin=unix:///run/shop/admin.sock", File: &FileIdentity{Dev: 25, Ino: 1 << 40}},
		},
		Control: 7, Scrape: 8, Lock: 9,
		Streams: []Stream{{FD: 10, Kind: StreamVerdict, Request: 12, Details: json.RawMessage(`{"follow":true}`)}, {FD: 11, Kind: StreamReexec}},
		RunDir:  "/run/supervisor/shop",
		Made:    []string{"/run/supervisor/shop"},
		Metrics: json.RawMessage(`{"upgrades":{"committed":11}}`),
	}
	for n := 1; n <= 3; n++ {
		s.Supervisor.Generations = append(s.Supervisor.Generations, upgrade.ProcessState{
			Generation: n, Release: release, PID: 1000 + n, StartTicks: 123456, Token: "0123456789abcdef0123456789abcdef", Joined: true,
			ProbeSocket: fmt.Sprintf("/run/supervisor/shop/generation-%d.sock", n), Library: "service/1", Capabilities: []string{"pause", "stats", "probe", "hold"},
			Listeners: []upgrade.ListenerStats{{Name: "http", Accepted: new(uint64(123456)), Active: 12, OldestSeconds: 1.5}, {Name: "admin"}},
			Started:   at, Ready: at, Channel: 20 + n,
		})
	}
	for n := range uint64(10) {
		s.Supervisor.Reports = append(s.Supervisor.Reports, upgrade.Report{
			Request: n + 2, Verdict: upgrade.Committed, Reason: "generation 3 is active", From: 2, To: 3, FromRelease: &release, ToRelease: &release,
			Phases: []upgrade.PhaseTime{{Phase: upgrade.PhaseAdmission, Seconds: 0.001}, {Phase: upgrade.PhaseStart, Seconds: 0.3}, {Phase: upgrade.PhaseReady, Seconds: 0.01},
				{Phase: upgrade.PhaseGate, Seconds: 0.2}, {Phase: upgrade.PhaseCutOver, Seconds: 0.001}, {Phase: upgrade.PhaseBake, Seconds: 5}},
			Queues: []upgrade.QueueAccount{{Listener: "http", Limit: 4096, MaxDepth: 3}, {Listener: "admin", Limit: 128}},
		})
	}
	return s
}

// written frames a JSON text as a state of the version.
func written(version int, text string) []byte {
	return fmt.Appendf(nil, "supervisor-state %d %d %x\n%s", version, len(text), sha256.Sum256([]byte(text)), text)
}
