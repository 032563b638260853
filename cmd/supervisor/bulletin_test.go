package main

import (
	"testing"
	"time"

	"example.com/supervisor/health"
	"example.com/supervisor/upgrade"
)

// inRoles is a status with one generation for each role, from 1 on.
func inRoles(phase upgrade.Phase, roles ...upgrade.Role) upgrade.Status {
	st := upgrade.Status{Phase: phase}
	for i, role := range roles {
		st.Generations = append(st.Generations, upgrade.GenerationStatus{Generation: i + 1, Role: role})
	}
	return st
}

func depth(name string, depth, limit uint32) health.Figures {
	return health.Figures{Name: name, Observation: health.Observation{Sample: health.Sample{Depth: depth, Limit: limit}}}
}

func TestStatusLines(t *testing.T) {
	t.Parallel()
	const (
		active, candidate, paused = upgrade.RoleActive, upgrade.RoleCandidate, upgrade.RolePaused
		drains, restarts, killed  = upgrade.RoleDraining, upgrade.RoleRestarting, upgrade.RoleKilled
	)
	now := time.Now()
	within := func(d time.Duration, st upgrade.Status) upgrade.Status {
		st.PhaseEnds = new(now.Add(d))
		return st
	}
	down := func(next time.Duration, st upgrade.Status) upgrade.Status {
		st.Restart = &upgrade.RestartStatus{Reason: "generation 1 exited with status 2", Failures: 3}
		if next != 0 {
			st.Restart.Next = now.Add(next)
		}
		return st
	}
	drain := func(connections int64, left time.Duration, st upgrade.Status) upgrade.Status {
		for i := range st.Generations {
			if g := &st.Generations[i]; g.Role == drains {
				g.Active, g.DrainDeadline = &connections, new(now.Add(left))
			}
		}
		return st
	}
	stop := func(st upgrade.Status) upgrade.Status {
		st.Stopping = true
		return st
	}
	for want, st := range map[string]upgrade.Status{
		"no generation active": inRoles(upgrade.PhaseIdle),
		"generation 1 active":  inRoles(upgrade.PhaseIdle, active),
		"no generation active, next start in 3.2 s: generation 1 exited with status 2, queue 7/128": down(3200*time.Millisecond, inRoles(upgrade.PhaseIdle)),
		"no generation active, next start in 0.0 s: generation 1 exited with status 2, queue 7/128": down(-time.Second, inRoles(upgrade.PhaseIdle)),
		"no generation active, generation 1 starting, queue 7/128":                                  down(0, inRoles(upgrade.PhaseIdle, restarts)),
		"generation 2 active, generation 1 draining, 29.9 s left, queue 7/128":                      drain(0, 29949*time.Millisecond, inRoles(upgrade.PhaseIdle, drains, active)),
		"generation 2 active, generation 1 draining 1 connection, 5.0 s left, queue 7/128":          drain(1, 5*time.Second, inRoles(upgrade.PhaseIdle, drains, active)),
		"generation 2 active, generation 1 draining 12 connections, 0.0 s left, queue 7/128":        drain(12, -time.Second, inRoles(upgrade.PhaseIdle, drains, active)),

		"generation 1 active, at admission, queue 7/128":                                                  inRoles(upgrade.PhaseAdmission, active),
		"no generation active, generation 1 starting, at admission, queue 7/128":                          down(0, inRoles(upgrade.PhaseAdmission, restarts)),
		"generation 1 starting, 30.0 s left, queue 7/128":                                                 within(30*time.Second, inRoles(upgrade.PhaseStart, candidate)),
		"generation 3 starting, 9.5 s left, generation 1 draining 2 connections, 1.0 s left, queue 7/128": within(9500*time.Millisecond, drain(2, time.Second, inRoles(upgrade.PhaseStart, drains, active, candidate))),
		"generation 2 being probed, 29.5 s left, queue 7/128":                                             within(29500*time.Millisecond, inRoles(upgrade.PhaseReady, active, candidate)),
		"generations 1 and 2 both accepting, 2.0 s left, queue 7/128":                                     within(2*time.Second, inRoles(upgrade.PhaseOverlap, active, candidate)),
		"generation 2 at the gate, 9.9 s left, queue 7/128":                                               within(9900*time.Millisecond, inRoles(upgrade.PhaseGate, active, candidate)),
		"generation 1 pausing for generation 2, 2.0 s left, queue 7/128":                                  within(2*time.Second, inRoles(upgrade.PhaseCutOver, active, candidate)),
		"generation 2 baking, 3.2 s left, queue 7/128":                                                    within(3200*time.Millisecond, inRoles(upgrade.PhaseBake, paused, active)),
		"generation 2 baking, 3.3 s left, queue 7/128":                                                    within(3300*time.Millisecond, inRoles(upgrade.PhaseBake, active, candidate)), // the old one cannot pause
		"rolling back: generation 1 resuming, 1.9 s left, queue 7/128":                                    within(1900*time.Millisecond, inRoles(upgrade.PhaseRollback, paused, active)),
		"rolling back: generation 1 resuming, 1.8 s left, queue 7/128":                                    within(1800*time.Millisecond, inRoles(upgrade.PhaseRollback, active, candidate)), // it did not answer the pause
		"rolling back: generation 2 starting, queue 7/128":                                                down(0, inRoles(upgrade.PhaseRollback, active, restarts)),
		"rolling back: next start in 0.2 s: generation 1 exited with status 2, queue 7/128":               down(200*time.Millisecond, inRoles(upgrade.PhaseRollback, active)),

		"stopping: generation 1 draining 4 connections, 8.0 s left, generation 2 draining 4 connections, 8.0 s left": stop(drain(4, 8*time.Second, inRoles(upgrade.PhaseIdle, drains, drains))),
		"stopping: generation 1 killed": stop(inRoles(upgrade.PhaseIdle, killed)),
		"stopped":                       stop(inRoles(upgrade.PhaseIdle)),
	} {
		if got := statusLine(st, []health.Figures{depth("http", 7, 128), depth("dns", 0, 0), depth("admin", 3, 4096)}, now); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestQueueIsNotTheLineOfAnIdleService(t *testing.T) {
	t.Parallel()
	// Nobody would tell when it has changed.
	if got := statusLine(inRoles(upgrade.PhaseIdle, upgrade.RoleActive), []health.Figures{depth("http", 7, 128)}, time.Now()); got != "generation 1 active" {
		t.Errorf("%q", got)
	}
	if got := statusLine(inRoles(upgrade.PhaseGate, upgrade.RoleActive, upgrade.RoleCandidate), []health.Figures{depth("dns", 0, 0)}, time.Now()); got != "generation 2 at the gate" {
		t.Errorf("%q", got)
	}
}

// TestBulletins plays what happens, and expects what is told of it.
func TestBulletins(t *testing.T) {
	t.Parallel()
	asked := func(st upgrade.Status) upgrade.Status {
		st.Request = 1
		return st
	}
	ended := func(st upgrade.Status) upgrade.Status {
		st.Stopping = true
		return st
	}
	none, active := inRoles(upgrade.PhaseIdle), inRoles(upgrade.PhaseIdle, upgrade.RoleActive)
	type event struct {
		hangup *bool
		st     upgrade.Status
		want   news
	}
	is := func(st upgrade.Status, want news) event { return event{nil, st, want} }
	hup := func(begun bool, st upgrade.Status, want news) event { return event{&begun, st, want} }
	for name, events := range map[string][]event{
		"start": {is(none, newsLine), is(active, newsReady), is(active, newsLine)},
		"upgrade, whatever becomes of it": {
			is(active, newsReady), is(asked(active), newsLine), is(asked(active), newsLine), is(active, newsLine),
		},
		"crash and restart": {is(active, newsReady), is(none, newsLine), is(active, newsLine)},
		"upgrade during a back-off": {
			is(active, newsReady), is(none, newsLine), is(asked(none), newsLine), is(active, newsLine),
		},
		"taken over in an upgrade": {is(asked(active), newsReady), is(asked(active), newsLine), is(active, newsLine)},
		"signal": {
			is(active, newsReady), hup(true, active, newsReloading), is(asked(active), newsLine), is(active, newsLine), hup(false, active, newsReady),
		},
		"signal whose end is heard of before the verdict": {
			is(active, newsReady), hup(true, active, newsReloading), is(asked(active), newsLine), hup(false, asked(active), newsLine), is(active, newsReady),
		},
		"signal during an upgrade": {
			is(active, newsReady), is(asked(active), newsLine), hup(true, asked(active), newsReloading), hup(false, asked(active), newsLine), is(active, newsReady),
		},
		"signal after signal": {
			is(active, newsReady), hup(true, active, newsReloading), hup(true, asked(active), newsReloading), is(active, newsLine),
			is(asked(active), newsLine), is(active, newsLine), hup(false, active, newsReady),
		},
		"signal before it is ready": {is(none, newsLine), hup(true, none, newsLine), hup(false, none, newsLine), is(active, newsReady)},
		"ready while a signal's upgrade is refused": {
			is(none, newsLine), hup(true, none, newsLine), is(active, newsReady), is(active, newsReloading), hup(false, active, newsReady),
		},
		"stop": {is(active, newsReady), is(ended(active), newsStopping), is(ended(active), newsLine), is(ended(none), newsLine)},
		"stop during an upgrade": {
			is(active, newsReady), hup(true, asked(active), newsReloading), is(ended(active), newsStopping), is(ended(none), newsLine),
		},
		"signals after the stop":   {is(active, newsReady), is(ended(active), newsStopping), hup(true, ended(active), newsLine), hup(false, ended(none), newsLine)},
		"first generation fails":   {is(none, newsLine), is(ended(none), newsStopping)},
		"stop before it was ready": {is(none, newsLine), is(ended(none), newsStopping), is(ended(none), newsLine)},
	} {
		var b bulletin
		for i, e := range events {
			var got news
			if e.hangup != nil {
				b.hangup = *e.hangup
				got = b.hungUp(e.st)
			} else {
				got = b.next(e.st)
			}
			if got != e.want {
				t.Errorf("%s: event %d is told by %d, want %d", name, i+1, got, e.want)
			}
		}
	}
}

func TestTimeIsNeededWithinLimitsOnly(t *testing.T) {
	t.Parallel()
	now := time.Now()
	const grace = 15 * time.Second
	drains := func(left time.Duration) upgrade.Status {
		st := inRoles(upgrade.PhaseIdle, upgrade.RoleDraining, upgrade.RoleKilled)
		st.Generations[0].DrainDeadline = new(now.Add(left))
		return st
	}
	starts := inRoles(upgrade.PhaseStart, upgrade.RoleCandidate)
	starts.PhaseEnds = new(now.Add(time.Second))
	asked := starts
	asked.Request = 1
	down := inRoles(upgrade.PhaseIdle)
	down.Restart = &upgrade.RestartStatus{Next: now.Add(time.Second)}
	for name, c := range map[string]struct {
		b    bulletin
		st   upgrade.Status
		want bool
	}{
		"start":                            {bulletin{}, starts, true},
		"start again after the supervisor": {bulletin{}, inRoles(upgrade.PhaseIdle, upgrade.RoleRestarting), true},
		"back-off before it was ready":     {bulletin{}, down, false},
		"upgrade":                          {bulletin{ready: true}, asked, true},
		"upgrade by signal":                {bulletin{ready: true, reloading: true}, starts, true},
		"idle":                             {bulletin{ready: true}, inRoles(upgrade.PhaseIdle, upgrade.RoleActive), false},
		"generation that drains":           {bulletin{ready: true}, drains(time.Minute), false},
		"stop":                             {bulletin{ready: true, stopping: true}, drains(time.Minute), true},
		"stop, drain over":                 {bulletin{ready: true, stopping: true}, drains(-grace / 2), true},
		"stop, all over":                   {bulletin{ready: true, stopping: true}, drains(-grace), false},
		"stopped":                          {bulletin{ready: true, stopping: true}, inRoles(upgrade.PhaseIdle), false},
	} {
		if got := c.b.needsTime(c.st, now, grace); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
