package upgrade

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"example.com/supervisor/fdpass"
)

// Gathered is who came back and what they brought.
type Gathered struct {
	// Survivors are all generations that live; those that have not come back
	// are mute.
	Survivors []Survivor
	// Unproven are those that may live or not: it is not known when they were
	// started, and they have not proved themselves. They are to be left alone.
	Unproven []int
	// Listeners are the sockets that were given back, each once; the caller owns
	// them.
	Listeners []fdpass.Listener
}

// Gather waits for those of the missed generations that live to come back,
// until ctx is done, but not long for those that never were ready. It is called
// once.
func (r *Rendezvous) Gather(ctx context.Context) Gathered {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	early := time.After(earlyTimeout)
	unready := true // are waited for too
	for {
		missing, changed := r.missing()
		if !slices.ContainsFunc(missing, func(p ProcessState) bool { return unready || !p.Ready.IsZero() }) {
			break
		}
		select {
		case <-changed:
			continue
		case <-early:
			unready = false
			continue
		case <-tick.C:
			for _, p := range missing {
				if !lives(p) {
					r.forget(p.Generation)
				}
			}
			continue
		case <-ctx.Done():
		}
		break
	}
	return r.gathered()
}

// lives is true also if it cannot be told: who is taken for dead is replaced, and
// who is taken for mute is not.
func lives(p ProcessState) bool {
	c, err := findChild(p.PID, p.StartTicks)
	c.close()
	return !errors.Is(err, errGone)
}

// missing are those who are expected and have not come.
func (r *Rendezvous) missing() (missing []ProcessState, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.expected {
		if e.came == nil {
			missing = append(missing, e.state)
		}
	}
	return missing, r.changed
}

func (r *Rendezvous) gathered() Gathered {
	r.mu.Lock()
	defer r.mu.Unlock()
	var g Gathered
	for n, e := range r.expected {
		if e.came == nil && e.state.StartTicks == 0 {
			r.log.Error("leaves a process alone that may be a generation, or another: it is not known when the generation was started, and it has not come back", "generation", n, "pid", e.state.PID)
			g.Unproven = append(g.Unproven, n)
			delete(r.expected, n)
			continue
		}
		if e.came == nil {
			g.Survivors = append(g.Survivors, Survivor{Generation: n, Mute: true})
			continue
		}
		e.came.counted = true
		g.Survivors = append(g.Survivors, e.came.survivor())
	}
	for _, l := range r.kept {
		g.Listeners = append(g.Listeners, l)
	}
	r.kept = nil
	slices.Sort(g.Unproven)
	slices.SortFunc(g.Survivors, func(a, b Survivor) int { return a.Generation - b.Generation })
	slices.SortFunc(g.Listeners, func(a, b fdpass.Listener) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Cookie, b.Cookie))
	})
	return g
}
