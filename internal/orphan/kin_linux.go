package orphan

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Kin is a generation of which processes live.
type Kin struct {
	Generation int
	// Marker is what its processes have in their environment.
	Marker string
	// First are those of them that no other one of them started: the process that
	// a supervisor did, and what has lost its parent.
	First []Process
}

// KinOf lists the generations of the service with that [ServiceMarker] of which
// processes live, by number. It takes as long as [Strays].
func KinOf(service string) ([]Kin, error) {
	numbers, err := readNumbers("/proc")
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %w", err)
	}
	r, found, of := newReader(service), map[string]*Kin{}, map[int]string{}
	for _, pid := range numbers {
		text := r.environ(pid)
		if spared(pid) || !hasMarker(text, r.marker) {
			continue
		}
		generation, marker, ok := generationIn(text)
		p, err := readProcess(pid)
		if !ok || err != nil || p.dead() {
			continue
		}
		of[pid] = marker
		if found[marker] == nil {
			found[marker] = &Kin{Generation: generation, Marker: marker}
		}
		found[marker].First = append(found[marker].First, p)
	}
	var all []Kin
	for _, k := range found {
		k.First = slices.DeleteFunc(k.First, func(p Process) bool { return of[p.Parent] == k.Marker })
		all = append(all, *k)
	}
	slices.SortFunc(all, func(a, b Kin) int {
		return cmp.Or(a.Generation-b.Generation, cmp.Compare(a.Marker, b.Marker))
	})
	return all, nil
}

// Terminate sends SIGTERM to the first processes of a generation, those that are
// still the ones that were found.
func (k Kin) Terminate() error {
	var errs []error
	for _, p := range k.First {
		if err := terminate(p); err != nil {
			errs = append(errs, fmt.Errorf("cannot end process %d (%s): %w", p.PID, p.Name, err))
		}
	}
	return errors.Join(errs...)
}

func terminate(p Process) error {
	handle, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	} else if err != nil {
		return err
	}
	defer unix.Close(handle)
	if now, err := readProcess(p.PID); err != nil || now.Start != p.Start {
		return nil // it has ended, and the number is another's or nobody's
	}
	if err := unix.PidfdSendSignal(handle, unix.SIGTERM, nil, 0); !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}
