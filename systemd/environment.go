package systemd

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	// maxDescriptors is more than can be passed: each has at least one byte and
	// a ":" in LISTEN_FDNAMES, and a variable has 128 KiB (execve(2)).
	maxDescriptors = 1 << 16
	// maxName is the length of the longest name, in bytes (sd_listen_fds(3)).
	maxName = 255
	// unnamed is what sd_listen_fds_with_names(3) calls one without a name.
	unnamed = "unknown"
)

// environment is what tells of the descriptors passed (sd_listen_fds(3)). A
// variable that is not set is empty.
type environment struct {
	pid   string // LISTEN_PID
	fds   string // LISTEN_FDS
	names string // LISTEN_FDNAMES
}

// variables are all that are set by a service manager which passes descriptors;
// LISTEN_PIDFDID is of newer ones (seen in 262).
func variables() []string {
	return []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"}
}

// descriptors returns those that were passed to the process with the id self,
// by what the environment alone tells. FDNAMES are compared only once the rest
// is right, so that the first error is the cause of the others.
func (e environment) descriptors(self int) ([]Descriptor, error) {
	if e.pid == "" && e.fds == "" {
		return nil, nil
	}
	if err := e.judgePID(self); err != nil {
		return nil, err
	}
	n, err := e.number()
	if err != nil || n == 0 {
		return nil, err
	}
	if e.names == "" {
		return nil, errors.New("LISTEN_FDNAMES is not set, so the sockets have no names: " +
			"write FileDescriptorName= in the [Socket] section of each socket unit")
	}
	names := strings.Split(e.names, ":")
	if len(names) != n {
		return nil, fmt.Errorf("LISTEN_FDS=%d, but LISTEN_FDNAMES has %d names: "+
			"take both variables out of Environment= of the service unit, systemd sets them", n, len(names))
	}
	all := make([]Descriptor, n)
	for i, name := range names {
		all[i] = Descriptor{Name: name, FD: firstFD + i}
	}
	return all, nil
}

func (e environment) judgePID(self int) error {
	switch pid, err := strconv.ParseUint(e.pid, 10, 31); {
	case e.pid == "":
		return fmt.Errorf("LISTEN_FDS=%q is set, but LISTEN_PID is not: start the program by ExecStart= of a service unit, which sets both", e.fds)
	case err != nil:
		return fmt.Errorf("LISTEN_PID=%q is not the number of a process: take it out of Environment= of the service unit, systemd sets it", e.pid)
	case pid != uint64(self):
		return fmt.Errorf("LISTEN_PID=%d is another process than this one (%d): a shell or wrapper stands between systemd and this program; "+
			"name the program itself in ExecStart=, or have the wrapper end with exec", pid, self)
	}
	return nil
}

func (e environment) number() (int, error) {
	n, err := strconv.ParseUint(e.fds, 10, 32)
	switch {
	case e.fds == "":
		return 0, errors.New("LISTEN_PID is set, but LISTEN_FDS is not: start the program by ExecStart= of a service unit, which sets both")
	case errors.Is(err, strconv.ErrRange) || err == nil && n > maxDescriptors:
		return 0, fmt.Errorf("LISTEN_FDS=%s is more than can be passed (%d): take it out of Environment= of the service unit, systemd sets it", e.fds, maxDescriptors)
	case err != nil:
		return 0, fmt.Errorf("LISTEN_FDS=%q is not a number of descriptors: take it out of Environment= of the service unit, systemd sets it", e.fds)
	}
	return int(n), nil
}

// atMost is how many descriptors may have been passed, whatever else is wrong.
func (e environment) atMost() int {
	if n, err := e.number(); err == nil {
		return n
	}
	if e.pid == "" && e.fds == "" {
		return 0
	}
	return maxDescriptors
}

// sortOut separates the descriptors of socket units from the stored, and judges
// the names of the former.
func sortOut(all []Descriptor) (Inherited, error) {
	var i Inherited
	var errs []error
	first := map[string]int{}
	for _, d := range all {
		if isStored(d.Name) {
			i.Stored = append(i.Stored, d)
			continue
		}
		i.Units = append(i.Units, d)
		fd, twice := first[d.Name]
		if !twice {
			first[d.Name] = d.FD
		}
		if err := judgeName(d.Name, fd, twice); err != nil {
			errs = append(errs, d.wrong(err))
		}
	}
	return i, errors.Join(errs...)
}

func judgeName(name string, first int, twice bool) error {
	switch {
	case name == "" || name == unnamed:
		return errors.New("it has no name: write FileDescriptorName= in the [Socket] section of its socket unit")
	case len(name) > maxName:
		return fmt.Errorf("its name is longer than %d bytes: write a shorter FileDescriptorName= in its socket unit", maxName)
	case strings.ContainsFunc(name, illegal):
		return errors.New(`a name is made of letters, digits and "._-": write such a FileDescriptorName= in its socket unit`)
	case twice:
		return fmt.Errorf("descriptor %d has that name too: all lines ListenStream= and others of one socket unit share its FileDescriptorName=, "+
			"so write one .socket unit for each socket, with a FileDescriptorName= of its own", first)
	}
	return nil
}

// illegal finds what may not be in the name of a listener.
func illegal(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
}

// wrong says which descriptor an error is about.
func (d Descriptor) wrong(err error) error {
	return fmt.Errorf("descriptor %d (%q): %w", d.FD, d.Name, err)
}
