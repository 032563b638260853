package systemd

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

const (
	// OldestVersion is the oldest systemd for which units are written.
	OldestVersion = 249
	// subgroupVersion is the first that knows DelegateSubgroup=, reloadVersion
	// the first that knows Type=notify-reload (systemd.service(5), NEWS).
	subgroupVersion = 254
	reloadVersion   = 253

	// maxUnitName is the length of the longest name of a unit, in bytes, with
	// its suffix (systemd.unit(5)).
	maxUnitName = 255
	// margin is what the timeouts of a unit leave for all that has no timeout
	// of its own.
	margin = 10 * time.Second
)

// A Unit is a supervised service as systemd is to know it. It is a plain value
// that is turned into text by Files; nothing is looked up and nothing is
// started.
type Unit struct {
	// Name is that of the service and of its units: letters, digits and any of
	// "._-".
	Name string
	// Template makes a unit of instances, NAME@.service, which is called %i
	// wherever the service is. In Run, User and Address %i stands for that then.
	Template bool
	// Origin is what the first line of each file says of where it is from.
	Origin string
	// Command is the absolute path of the supervisor. Run are the words that
	// follow "run": settings, "--", and the program.
	Command string
	Run     []string
	// User is whom the service runs as, by name or number.
	User string
	// Sockets are the listeners that systemd opens. Without any the supervisor
	// opens its own.
	Sockets []Socket
	// LowPort allows a supervisor that opens its own listeners those below 1024.
	LowPort bool
	// NoNetwork forbids the program IP sockets of its own. Those that systemd
	// opened it keeps.
	NoNetwork bool
	// Ready is how long the first generation may take, Upgrade how long an
	// upgrade may take to its verdict, Stop how long all generations may take
	// to end.
	Ready, Upgrade, Stop time.Duration
	// NotifyReload makes "systemctl reload" a signal instead of a command, for
	// systemd 253 and later. The verdict does not reach the caller then.
	NotifyReload bool
	// Version is the oldest systemd that the units are for; 0 is OldestVersion.
	// Lines that it does not know are left out.
	Version int
}

// A File is a unit as it is to be installed.
type File struct {
	Name, Text string
}

// Files returns the units: those of the sockets first, the service last. An
// error says which value cannot be written so that systemd reads the same.
func (u Unit) Files() ([]File, error) {
	if err := u.check(); err != nil {
		return nil, err
	}
	var files []File
	for i, s := range u.Sockets {
		text, err := u.socket(s)
		if err != nil {
			return nil, fmt.Errorf("cannot write a unit for listener %s: %w", s.Name, err)
		}
		files = append(files, File{u.socketName(i), text})
	}
	text, err := u.service()
	if err != nil {
		return nil, fmt.Errorf("cannot write unit %s: %w", u.fileName(".service"), err)
	}
	files = append(files, File{u.fileName(".service"), text})
	for _, f := range files {
		if len(f.Name) > maxUnitName {
			return nil, fmt.Errorf("cannot write unit %s: its name has %d bytes, and systemd takes %d at most; choose a shorter name for the service or the listener",
				f.Name, len(f.Name), maxUnitName)
		}
	}
	return files, nil
}

var (
	unitName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	userName = regexp.MustCompile(`^([a-zA-Z_][a-zA-Z0-9_.-]{0,30}|[0-9]{1,10})$`)
)

func (u Unit) check() error {
	switch {
	case !unitName.MatchString(u.Name):
		return fmt.Errorf("cannot write units for %q: use letters, digits and any of \"._-\", beginning with a letter or digit", u.Name)
	case !strings.HasPrefix(u.Command, "/"):
		return fmt.Errorf("cannot write units for %s: the path of the supervisor must begin with a slash: %q", u.Name, u.Command)
	case !userName.MatchString(u.User) && (!u.Template || u.User != "%i"):
		return fmt.Errorf("cannot write units for %s: %q cannot be the name of a user; give another with --user", u.Name, u.User)
	case u.Version != 0 && u.Version < OldestVersion:
		return fmt.Errorf("cannot write units for %s: systemd %d is too old; %d is the oldest that they work with", u.Name, u.Version, OldestVersion)
	case u.NoNetwork && len(u.Sockets) == 0:
		return fmt.Errorf("cannot write units for %s: a supervisor without IP sockets cannot open its own listeners; leave the listeners to systemd, or allow it the network", u.Name)
	case u.NotifyReload && u.version() < reloadVersion:
		return fmt.Errorf("cannot write units for %s: notify-reload needs systemd %d; say so with --systemd %d", u.Name, reloadVersion, reloadVersion)
	}
	return nil
}

// literal keeps systemd from taking anything in s for a specifier, but for that
// of the instance in a template.
func (u Unit) literal(s string) string {
	s = escapePercent(s)
	if u.Template {
		s = strings.ReplaceAll(s, "%%i", "%i")
	}
	return s
}

func (u Unit) version() int { return max(u.Version, OldestVersion) }

// instance is the service's name as the text of the unit has it.
func (u Unit) instance() string {
	if u.Template {
		return "%i"
	}
	return u.Name
}

// fileName is that of one of the units.
func (u Unit) fileName(suffix string) string {
	if u.Template {
		return u.Name + "@" + suffix
	}
	return u.Name + suffix
}

// unit is the name by which one unit refers to another.
func (u Unit) unit(suffix string) string {
	if u.Template {
		return u.Name + "@%i" + suffix
	}
	return u.Name + suffix
}

// group is the service's cgroup, where its slice is not changed
// (systemd.special(7), systemd.slice(5)).
func (u Unit) group() string {
	if u.Template {
		return "/sys/fs/cgroup/system.slice/system-" + u.Name + ".slice/" + u.unit(".service")
	}
	return "/sys/fs/cgroup/system.slice/" + escapeGroup(u.unit(".service"))
}

// controllers are names with which a file of a cgroup may begin.
var controllers = regexp.MustCompile(`^(cgroup|cpu|cpuacct|cpuset|io|blkio|memory|devices|pids|bpf-firewall|bpf-devices|bpf-foreign|bpf-socket-bind|bpf-restrict-network-interfaces)\.`)

// escapeGroup is the name of a unit as that of its cgroup: one that could be
// taken for a file of the kernel's begins with "_" (cg_escape in
// src/basic/cgroup-util.c of systemd).
func escapeGroup(name string) string {
	if controllers.MatchString(name) || strings.HasPrefix(name, "_") || strings.HasPrefix(name, ".") {
		return "_" + name
	}
	return name
}
