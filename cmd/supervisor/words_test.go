package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/internal/golden"
	"example.com/supervisor/upgrade"
)

func TestVerdicts(t *testing.T) {
	t.Parallel()
	release := &upgrade.Release{Path: "/srv/app/v2", BuildID: "abc123"}
	for _, c := range []struct {
		report upgrade.Report
		status int
		words  string
	}{
		{upgrade.Report{Verdict: upgrade.Committed, Reason: "generation 2 is active", From: 1, To: 2, ToRelease: release, DurationSeconds: 0.3121},
			exitOK, "committed: generation 2 is active (/srv/app/v2 (abc123)), 312 ms"},
		{upgrade.Report{Verdict: upgrade.Committed, Reason: "generation 2 is active", From: 1, DurationSeconds: 12.34, Drained: true},
			exitOK, "committed: generation 2 is active, 12.3 s\ngeneration 1 has ended"},
		{upgrade.Report{Verdict: upgrade.Committed, Reason: "generation 2 is active", From: 1, DurationSeconds: 75, Drained: true, Cut: 3},
			exitCut, "committed: generation 2 is active, 1m15s\ngeneration 1 has ended; it cut 3 connections"},
		{upgrade.Report{Verdict: upgrade.Committed, Reason: "generation 2 is active", From: 1, Drained: true, Cut: 1},
			exitCut, "committed: generation 2 is active, 0 ms\ngeneration 1 has ended; it cut 1 connection"},
		{upgrade.Report{Verdict: upgrade.Committed, Reason: "generation 2 is active", From: 1, Drained: true, CutUnknown: true},
			exitCut, "committed: generation 2 is active, 0 ms\ngeneration 1 has ended; connections may have been cut, it could not tell"},
		{upgrade.Report{Verdict: upgrade.Refused, Reason: "upgrade 3 is running (bake)", From: 1},
			exitRefused, "refused: upgrade 3 is running (bake), 0 ms"},
		{upgrade.Report{Verdict: upgrade.Aborted, Reason: "generation 2 exited with status 1", From: 1, To: 2, Active: 1, Output: []string{"panic: x", "exit"}},
			exitAborted, "aborted: generation 2 exited with status 1; generation 1 is active, 0 ms\nthe log since the start of generation 2 ends:\n  panic: x\n  exit"},
		{upgrade.Report{Verdict: upgrade.Aborted, Reason: "generation 2 exited with status 1", From: 1, To: 2},
			exitAborted, "aborted: generation 2 exited with status 1; no generation is active, it is being restarted, 0 ms"},
		{upgrade.Report{Verdict: upgrade.Aborted, Reason: "the supervisor is stopping", From: 1, To: 2, Active: 3},
			exitAborted, "aborted: the supervisor is stopping; generation 3 is active, 0 ms"},
		{upgrade.Report{Verdict: upgrade.Admissible, DryRun: true, Reason: "generation 1 would be replaced by /srv/app/v2", From: 1, ToRelease: release, Forced: true,
			Overruled: "queue http dropped 3 packets"},
			exitOK, "dry run: admissible: generation 1 would be replaced by /srv/app/v2, 0 ms\nadmission objected and would be overruled: queue http dropped 3 packets"},
		{upgrade.Report{Verdict: upgrade.Refused, DryRun: true, Reason: "upgrade 3 is running (bake)", From: 1},
			exitRefused, "dry run: refused: upgrade 3 is running (bake), 0 ms"},
		{upgrade.Report{Verdict: upgrade.RolledBack, Reason: "generation 2 is unhealthy", From: 1, To: 2},
			exitRolledBack, "rolled-back: generation 2 is unhealthy, 0 ms"},
		{upgrade.Report{Verdict: upgrade.RolledBack, Reason: "generation 3 lets the queue stand", From: 2, To: 3, Active: 2, DurationSeconds: 0.4,
			Forced: true, Overruled: "queue http dropped 3 packets",
			CandidateAccepted: 211, CandidateOpen: 12, Drained: true, Cut: 12,
			Queues: []upgrade.QueueAccount{
				{Listener: "http", Limit: 4096, MaxDepth: 87, MaxSojournSeconds: new(0.109), Drops: new(uint64(0))},
				{Listener: "admin", Limit: 128, MaxSojournSeconds: new(0.0)},
			}},
			exitRolledBack, `rolled-back: generation 3 lets the queue stand, 400 ms
admission objected and was overruled: queue http dropped 3 packets
queue http: at most 87 of 4096 waiting, longest wait 109 ms, no drops
queue admin: nothing waited
generation 3 had accepted 211 connections, of which 12 were open: these may be lost
generation 3 has ended; it cut 12 connections`},
		{upgrade.Report{Verdict: upgrade.Aborted, Reason: "generation 3 exited with status 1", From: 2, To: 3, Active: 2, CandidateAccepted: 1, CandidateOpen: 1},
			exitAborted, "aborted: generation 3 exited with status 1; generation 2 is active, 0 ms\ngeneration 3 had accepted 1 connection, of which 1 was open: it may be lost"},
		{upgrade.Report{Verdict: upgrade.Aborted, Reason: "generation 3 was killed by signal 9", From: 2, To: 3, Active: 2, CandidateOpen: 3},
			exitAborted, "aborted: generation 3 was killed by signal 9; generation 2 is active, 0 ms\ngeneration 3 had 3 connections open, which may be lost"},
		{upgrade.Report{Verdict: upgrade.Aborted, Reason: "the gate stayed shut", From: 2, To: 3, Active: 2, CandidateAccepted: 40, Drained: true},
			exitAborted, "aborted: the gate stayed shut; generation 2 is active, 0 ms\ngeneration 3 had accepted 40 connections, of which none was open\ngeneration 3 has ended"},
		{upgrade.Report{Verdict: upgrade.Committed, Reason: "generation 3 is active", From: 2, To: 3, Queues: []upgrade.QueueAccount{
			{Listener: "http", Limit: 128, MaxDepth: 129, Drops: new(uint64(40))},
			{Listener: "feed", Limit: 1, Drops: new(uint64(1))},
			{Listener: "admin", Limit: 128},
			{Listener: "brief", Limit: 128, MaxDepth: 3, MaxSojournSeconds: new(0.0), Drops: new(uint64(0))},
		}},
			exitOK, "committed: generation 3 is active, 0 ms\nqueue http: at most 129 of 128 waiting, 40 packets dropped\nqueue feed: nothing waited, 1 packet dropped\nqueue brief: at most 3 of 128 waiting, no drops"},
		{upgrade.Report{Verdict: upgrade.Refused, Reason: "listener http: the kernel dropped 40 packets", Queues: []upgrade.QueueAccount{
			{Listener: "http", Limit: 128, MaxDepth: 129, Drops: new(uint64(0))},
		}},
			exitRefused, "refused: listener http: the kernel dropped 40 packets, 0 ms"},
		{upgrade.Report{Verdict: "new", Reason: "of another version"},
			exitFailed, "new: of another version, 0 ms"},
	} {
		if got := verdictStatus(c.report); got != c.status {
			t.Errorf("%+v: status %d, want %d", c.report, got, c.status)
		}
		if got := verdictInWords(c.report); got != c.words {
			t.Errorf("got  %q\nwant %q", got, c.words)
		}
	}
}

func TestWithoutAVerdict(t *testing.T) {
	t.Parallel()
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		ctx  context.Context
		err  error
		want string
	}{
		{t.Context(), fmt.Errorf("%w: EOF", control.ErrLost), "error: cannot tell the verdict: the supervisor ended the connection before the verdict: EOF; see supervisor status\n"},
		{t.Context(), &control.RefusedError{Status: 403, Reason: "uid 5 may not"}, "error: cannot ask for the upgrade: uid 5 may not\n"},
		{t.Context(), &control.RefusedError{Status: 400, Reason: "a relative path"}, "error: cannot ask for the upgrade: a relative path\n"},
		{interrupted, context.Canceled, "error: cannot tell the verdict: interrupted; the upgrade goes on, see supervisor status\n"},
		{t.Context(), errors.New("cannot connect"), "error: cannot connect\n"},
	} {
		var out strings.Builder
		status := exitStatus(cannotTell(c.ctx, upgrade.KindUpgrade, c.err), &out)
		want := exitFailed
		if strings.Contains(c.want, "relative") {
			want = exitUsage
		}
		if status != want || out.String() != c.want {
			t.Errorf("%v: status %d, %q; want %q", c.err, status, out.String(), c.want)
		}
	}
}

func TestStatusForAPerson(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.Local)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	at := func(t time.Time) *time.Time { return &t }
	v1 := upgrade.Release{Path: "/srv/web/1/web", BuildID: "aaa111", Program: upgrade.Program{Command: []string{"/srv/web/current/web", "-v"}}}
	v2 := upgrade.Release{Path: "/srv/web/2/web", BuildID: "bbb222", Program: upgrade.Program{Command: []string{"/srv/web/current/web", strings.Repeat("é", 100)}}}
	full := upgrade.Status{
		Service: "web", PID: 100, Started: ago(50 * time.Hour), Phase: upgrade.PhaseBake, Request: 3,
		Previous: &v1,
		Generations: []upgrade.GenerationStatus{
			{Generation: 1, Role: upgrade.RoleDraining, PID: 101, Release: v1, Started: ago(50 * time.Hour), Active: new(int64(2)), Accepted: new(uint64(1000)), MemoryBytes: new(uint64(312 << 20)),
				Ready: at(ago(50 * time.Hour)), DrainDeadline: at(now.Add(12 * time.Second)),
				Listeners: []upgrade.ListenerStats{{Name: "http", Active: 2, OldestSeconds: 75}}},
			{Generation: 2, Role: upgrade.RolePaused, PID: 102, Release: v1, Started: ago(90 * time.Minute), Ready: at(ago(time.Hour))},
			{Generation: 3, Role: upgrade.RoleActive, PID: 103, Release: v2, Started: ago(1234 * time.Millisecond), Accepted: new(uint64(7)), Active: new(int64(1)), Ready: at(ago(time.Second))},
			{Generation: 4, Role: upgrade.RoleDraining, PID: 104, Release: v1, Started: ago(time.Minute), DrainDeadline: at(ago(time.Second))},
			{Generation: 5, Role: upgrade.RoleCandidate, Release: v2, Started: now},
			{Generation: 6, Role: upgrade.RoleDraining, PID: 106, Program: 107, Release: v1, Started: ago(time.Minute), Active: new(int64(12)), DrainDeadline: at(now.Add(time.Second))},
		},
		Listeners: []upgrade.ListenerStatus{
			{Name: "http", Network: "tcp", Address: "127.0.0.1:8080", Queue: &upgrade.QueueStatus{Depth: 3, Limit: 4096, OldestSeconds: new(0.012), Drops: new(uint64(7))}},
			{Name: "quiet", Network: "tcp6", Address: "[::1]:8081", Queue: &upgrade.QueueStatus{Limit: 128, OldestSeconds: new(0.0), Drops: new(uint64(0))}},
			{Name: "admin", Network: "unix", Address: "/run/web/admin.sock", Queue: &upgrade.QueueStatus{Depth: 1, Limit: 16}},
			{Name: "dns", Network: "udp", Address: "127.0.0.1:53"},
		},
		Reports: []upgrade.Report{
			{Request: 1, Kind: upgrade.KindUpgrade, Verdict: upgrade.Refused, Started: ago(time.Hour), Reason: "no previous release", From: 1},
			{Request: 2, Kind: upgrade.KindUpgrade, Verdict: upgrade.Committed, Started: ago(time.Minute), Reason: "generation 2 is active", From: 1, To: 2, DurationSeconds: 5.2, Note: "change 12", Overruled: "connections wait"},
		},
	}
	down := upgrade.Status{
		Service: "web", PID: 100, Started: ago(time.Second), Phase: upgrade.PhaseIdle, Restarts: 7,
		Restart: &upgrade.RestartStatus{Reason: "generation 3 exited with status 2", Failures: 4, Next: now.Add(800 * time.Millisecond)},
	}
	stopping := upgrade.Status{Service: "web", PID: 100, Started: now, Phase: upgrade.PhaseIdle, Stopping: true, Restart: &upgrade.RestartStatus{Reason: "crash", Failures: 1}}
	starting := upgrade.Status{Service: "web", PID: 100, Started: now, Phase: upgrade.PhaseStart}
	var out bytes.Buffer
	stuck := upgrade.Status{Service: "web", PID: 101, Listeners: []upgrade.ListenerStatus{{Name: "http", Network: "tcp", Address: "127.0.0.1:8080"}}, Started: now, Phase: upgrade.PhaseIdle, Previous: &v1, Restarts: 1}
	gone := map[int]error{101: errors.New("program /srv/web/1/web: no such file or directory")}
	for _, s := range []upgrade.Status{full, down, stopping, starting, stuck} {
		if err := printStatus(&out, s, gone[s.PID], now); err != nil {
			t.Fatal(err)
		}
		out.WriteString("====\n")
	}
	golden.Compare(t, *update, "status.txt", out.String())
}

func TestProgressShowsALineAStep(t *testing.T) {
	t.Parallel()
	step := upgrade.Step{ElapsedSeconds: 0.2134, Phase: upgrade.PhaseGate, Generation: 2, Text: "is let through"}
	question := upgrade.Step{ElapsedSeconds: 12345.6789, Phase: upgrade.PhaseAdmission, Generation: 2, Text: "may it?"}
	for _, c := range []struct {
		json bool
		want string
	}{
		{false, "   0.213 s  gate       generation 2 is let through\n12345.679 s  admission  may it?\n"},
		{true, "{1}\n{2}\n{3}\n"},
	} {
		var out bytes.Buffer
		p := newProgress(&out, c.json)
		p.line([]byte("{1}"), control.Line{Step: &step})
		p.line([]byte("{2}"), control.Line{Step: &question})
		p.line([]byte("{3}"), control.Line{Report: &upgrade.Report{}})
		p.close()
		if out.String() != c.want {
			t.Errorf("json %v: got %q, want %q", c.json, out.String(), c.want)
		}
	}
}

func TestLiveLineIsErasedBeforeEachStep(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := newProgress(&out, false)
	p.width = func() int { return 20 }
	p.line(nil, control.Line{Step: &upgrade.Step{ElapsedSeconds: 1, Phase: upgrade.PhaseBake, Text: "is watched"}})
	p.live(p.since.Add(500 * time.Millisecond))
	p.close()
	const erase = "\r\x1b[K"
	if want := erase + "   1.000 s  bake       is watched\n" + erase + "       1.5 s  bake" + erase; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestCutTo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{{"abc", 5, "abc"}, {"abc", 2, "ab"}, {"éàü", 2, "éà"}, {"a b", 2, "a"}, {"abc", 0, ""}, {"abc", -1, ""}, {"\xff\xfe", 1, "\xff"}} {
		if got := cutTo(c.text, c.width); got != c.want {
			t.Errorf("%q to %d: got %q, want %q", c.text, c.width, got, c.want)
		}
	}
}
