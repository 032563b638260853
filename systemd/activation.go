package systemd

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// firstFD is SD_LISTEN_FDS_START of sd_listen_fds(3).
const firstFD = 3

// storePrefix begins the name of each listener in the descriptor store, so
// that it is not taken for the name of a socket unit. Not just "supervisor.":
// supervisor.socket is the default name for a unit of that name.
const storePrefix = "supervisor.listener."

// storedDefault is the name that the service manager gives to what was put
// into the store without one (sd_pid_notify_with_fds(3)).
const storedDefault = "stored"

// A Descriptor is a socket that the service manager passed. Whoever gets the
// Inherited that it came in owns it.
type Descriptor struct {
	// Name is its FileDescriptorName= (systemd.socket(5)), or the FDNAME= with
	// which it was put into the store.
	Name string
	// FD is close-on-exec, non-blocking, and at the number at which it came.
	FD int
}

// Inherited is what sd_listen_fds(3) tells.
type Inherited struct {
	// Units are the descriptors of socket units: each of a supported kind, in
	// working order, under a name that no other of them has. They come in the
	// order of the service manager, which changes at daemon-reload.
	Units []Descriptor
	// Stored are those of this service's descriptor store: whatever was put
	// there, in whatever state. They are not judged here, because the same
	// ones come again at every start: an error would be one for good. Who takes
	// one compares it with what it should be (its SO_COOKIE), and removes those
	// that are of no use with Notifier.Unstore. Names may repeat.
	Stored []Descriptor
}

// Close closes all descriptors.
func (i Inherited) Close() error {
	var errs []error
	for _, d := range slices.Concat(i.Units, i.Stored) {
		if err := closeFD(d.FD); err != nil {
			errs = append(errs, fmt.Errorf("cannot close descriptor %d (%s): %w", d.FD, d.Name, err))
		}
	}
	return errors.Join(errs...)
}

// StoreName is the name of a listener in the descriptor store. One of more
// than 235 bytes is too long for a store, which Notifier.Store refuses.
func StoreName(listener string) string { return storePrefix + listener }

// ListenerOf is the listener that was stored under a name of StoreName. It
// reports whether the name is one.
func ListenerOf(stored string) (string, bool) {
	listener, ok := strings.CutPrefix(stored, storePrefix)
	if !ok || listener == "" {
		return "", false
	}
	return listener, true
}

// isStored reports whether a name is one that descriptors from the store have.
func isStored(name string) bool {
	return name == storedDefault || strings.HasPrefix(name, storePrefix)
}

// Match finds the descriptor for each name wanted, in the order of want. The
// two must be the same names: one that is missing and one that nobody asked for
// are errors that name the line of the unit to mend. Match borrows the
// descriptors; after an error they are still the caller's to close.
func Match(units []Descriptor, want []string) ([]Descriptor, error) {
	var matched []Descriptor
	var errs []error
	for i, name := range want {
		at := slices.IndexFunc(units, func(d Descriptor) bool { return d.Name == name })
		switch {
		case slices.Contains(want[:i], name):
			errs = append(errs, fmt.Errorf("listener %q is asked for twice; each needs a name and a socket unit of its own", name))
		case at < 0:
			errs = append(errs, missing(name, units))
		default:
			matched = append(matched, units[at])
		}
	}
	for _, d := range units {
		if !slices.Contains(want, d.Name) {
			errs = append(errs, fmt.Errorf("systemd passed a listener %[1]q that nobody asked for: "+
				"say --listen %[1]s=systemd in ExecStart=, or take its socket unit out of Sockets= in the service unit (and that service out of Service= in the socket unit)", d.Name))
		}
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("cannot match the listeners of systemd's socket units: %w", errors.Join(errs...))
	}
	return matched, nil
}

func missing(name string, units []Descriptor) error {
	passed := "systemd passed none"
	if len(units) > 0 {
		var names []string
		for _, d := range units {
			names = append(names, fmt.Sprintf("%q", d.Name))
		}
		passed = "systemd passed " + strings.Join(names, ", ")
	}
	return fmt.Errorf("listener %q is missing (%s): write FileDescriptorName=%s in the [Socket] section of its socket unit, "+
		"and name that unit in Sockets= of the service unit", name, passed, name)
}
