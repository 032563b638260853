package upgrade

import "fmt"

// await has a hook of the upgrade under way done, if there is one, before what
// follows it.
func (m *Machine) await(h Hook, generation int) {
	limit := m.policy.Hooks.of(h)
	if limit == 0 || m.request == nil { // or it is the first generation
		m.after(h)
		return
	}
	r := m.request
	r.hook, r.hooked = h, true
	m.tell(generation, "the hook "+string(h)+" runs")
	m.setDeadline(limit + hookGrace)
	m.do(RunHook{Request: r.Request, Hook: h, Kind: r.Kind, From: r.from, To: r.to, FromRelease: r.fromRelease, ToRelease: r.toRelease})
}

// after goes on after a hook.
func (m *Machine) after(h Hook) {
	switch h {
	case HookBeforeStart:
		m.launchCandidate(*m.request.toRelease)
	case HookAfterReady:
		m.overlap()
	case HookBeforeCutOver:
		m.openGate()
	}
}

func (m *Machine) hookPassed(e HookPassed) {
	if r := m.request; r.is(e.Request) && r.hook == e.Hook && r.hook != "" {
		r.hook = ""
		m.after(e.Hook)
	}
}

func (m *Machine) hookFailed(e HookFailed) {
	if r := m.request; r.is(e.Request) && r.hook == e.Hook && r.hook != "" {
		m.undo(fmt.Sprintf("the hook %s failed: %s", e.Hook, e.Reason))
	}
}

// follow has the hook done that follows a verdict.
func (m *Machine) follow(r *request, v Verdict, reason string) {
	h := Hook("")
	switch {
	case v == Committed:
		h = HookAfterCommit
	case v == Aborted, v == Refused && r.hooked:
		h = HookOnAbort
	case v == RolledBack:
		h = HookOnRollback
	}
	if m.policy.Hooks.of(h) == 0 {
		return
	}
	hook := RunHook{Request: r.Request, Hook: h, Kind: r.Kind, From: r.from, To: r.to, FromRelease: r.fromRelease, ToRelease: r.toRelease, Verdict: v, Reason: reason}
	if m.active != nil {
		hook.Active = m.active.number
	}
	m.do(hook)
}
