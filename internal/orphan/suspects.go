package orphan

import "time"

const (
	// suspectLooks is in how many looks a zombie must have been seen before it is
	// said that nobody waits for it, and lookApart is how far apart they count. A
	// process that was stopped for a while, or did not get the processor, has time
	// to wait for its child between any two.
	suspectLooks = 5
	lookApart    = 250 * time.Millisecond
)

// suspects are zombies among the children that somebody may be about to wait for.
type suspects map[int]suspect

type suspect struct {
	start uint64 // of the process
	looks int
	last  time.Time // of the looks that count
}

// judge takes all zombies that a look has found, and returns those to be reaped.
// Known are left alone. A zombie that is neither of the process group ours, nor
// the leader of one, was started by none of us, and is reaped at once. Any other
// may be a child of os/exec, which is waited for when it ends: those that are not
// in time are nobody's.
func (s suspects) judge(zombies []Process, ours int, known func(pid int) bool, now time.Time) (reap []Process) {
	seen := make(map[int]bool, len(zombies))
	for _, z := range zombies {
		if known(z.PID) {
			continue
		}
		if z.group != ours && z.group != z.PID {
			reap = append(reap, z)
			continue
		}
		seen[z.PID] = true
		if s.saw(z, now) {
			reap = append(reap, z)
		}
	}
	for pid := range s {
		if !seen[pid] {
			delete(s, pid)
		}
	}
	return reap
}

// saw counts a look at a zombie, and reports whether there were enough.
func (s suspects) saw(z Process, now time.Time) bool {
	was, ok := s[z.PID]
	if !ok || was.start != z.Start {
		was = suspect{start: z.Start, last: now.Add(-lookApart)}
	}
	if now.Sub(was.last) >= lookApart {
		was.looks, was.last = was.looks+1, now
	}
	s[z.PID] = was
	return was.looks >= suspectLooks
}
