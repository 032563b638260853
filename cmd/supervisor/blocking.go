package main

import "sync"

// users are the generations that may accept from the listeners, and whether their
// protocol has it that accept(2) waits. O_NONBLOCK is one flag for all who hold a
// socket, so that not every wish can be met. Its methods may be called
// concurrently.
type users struct {
	mu  sync.Mutex
	all map[int]user
}

// A user is one generation.
type user struct {
	waits bool
	specs map[string]bool // of its listeners
}

// add adds a generation, which is to be handed the listeners with these specs.
func (u *users) add(generation int, waits bool, specs []string) {
	has := make(map[string]bool, len(specs))
	for _, spec := range specs {
		has[spec] = true
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.all == nil {
		u.all = map[int]user{}
	}
	u.all[generation] = user{waits, has}
}

// mode is what is to be done about the flag of a listener before a generation is
// handed it that was added.
func (u *users) mode(spec string, generation int) blockingMode {
	u.mu.Lock()
	defer u.mu.Unlock()
	wait, others := u.waitAt(spec, generation)
	switch {
	case !wait:
		return nonBlocking
	case others == 0:
		return blocking
	}
	// Those that run may have set the flag themselves and rely on it.
	return asItIs
}

func (u *users) remove(generation int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.all, generation)
}

// needNonBlocking reports whether a listener has a generation that must not wait
// in accept(2), or none at all.
func (u *users) needNonBlocking(spec string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	wait, count := u.waitAt(spec, 0)
	return !wait || count == 0
}

// waitAt reports whether all who have a listener wait in accept(2), and how many
// have it besides one.
func (u *users) waitAt(spec string, besides int) (all bool, others int) {
	all = true
	for generation, user := range u.all {
		if !user.specs[spec] {
			continue
		}
		all = all && user.waits
		if generation != besides {
			others++
		}
	}
	return all, others
}

// blockingMode is what is done about O_NONBLOCK.
type blockingMode int

const (
	asItIs blockingMode = iota
	nonBlocking
	blocking
)
