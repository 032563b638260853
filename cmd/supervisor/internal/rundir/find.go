package rundir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Service is a running supervisor that was found.
type Service struct {
	// Name is that of the service; empty for the one of $RUNTIME_DIRECTORY,
	// whose directory does not tell it.
	Name   string
	Socket string
	// Runtime tells that it was found in $RUNTIME_DIRECTORY.
	Runtime bool
	// Err is why it cannot be talked to although it is there.
	Err error
}

// List returns the services whose control sockets are alive or may not be
// asked: that of $RUNTIME_DIRECTORY first, then those under
// $XDG_RUNTIME_DIR/supervisor and /run/supervisor, by name.
func List(getenv func(string) string) []Service {
	return list(getenv, systemRoot(getenv))
}

func list(getenv func(string) string, system string) []Service {
	var found []Service
	look := func(s Service) {
		if s.Err = Alive(s.Socket); !errors.Is(s.Err, ErrNotRunning) {
			found = append(found, s)
		}
	}
	if first, _, _ := strings.Cut(getenv("RUNTIME_DIRECTORY"), ":"); first != "" {
		look(Service{Socket: filepath.Join(first, ControlSocket), Runtime: true})
	}
	for _, root := range roots(getenv, system) {
		entries, _ := os.ReadDir(root) // a place that is not there has no services
		for _, e := range entries {
			look(Service{Name: e.Name(), Socket: filepath.Join(root, e.Name(), ControlSocket)})
		}
	}
	return found
}

// testRoot is a variable for tests: what they look at instead of /run/supervisor,
// where services of the machine may run.
const testRoot = "SUPERVISOR_TEST_ROOT"

// systemRoot is the directory that holds those of root's services.
func systemRoot(getenv func(string) string) string {
	if root := getenv(testRoot); root != "" {
		return root
	}
	return "/run/supervisor"
}

// roots are the directories that hold those of services.
func roots(getenv func(string) string, system string) []string {
	if xdg := getenv("XDG_RUNTIME_DIR"); xdg != "" {
		return []string{filepath.Join(xdg, "supervisor"), system}
	}
	return []string{system}
}

// Holders says who holds a listener.
const Holders = "ss -ltnp, or -lxp for Unix sockets, shows their pids"

// Orphans says what is to be done about the generations of a supervisor that
// was killed.
const Orphans = "its supervisor was killed, and generations of it may still serve: start it again as before, and it takes them over; or end them with kill -TERM: " + Holders

// Find returns the control socket of the service called name or, with no name,
// of the only one there is. ask tells the name of the service behind a socket;
// it is needed for $RUNTIME_DIRECTORY only.
func Find(name string, getenv func(string) string, ask func(socket string) (string, error)) (string, error) {
	return find(name, getenv, systemRoot(getenv), ask)
}

func find(name string, getenv func(string) string, system string, ask func(socket string) (string, error)) (string, error) {
	found := list(getenv, system)
	socket, err := choose(name, found, ask)
	switch {
	case errors.Is(err, errNone):
		if killed := allLeft(getenv, system); len(killed) > 0 {
			return "", fmt.Errorf("no running service found, but a supervisor that was killed left %s; supervisor status NAME says more", strings.Join(killed, ", "))
		}
		return "", fmt.Errorf("%w in %s; give its control socket with --socket", err, strings.Join(roots(getenv, system), " or "))
	case err == nil || name == "":
		return socket, err
	}
	for _, root := range roots(getenv, system) {
		if dir := filepath.Join(root, name); isLeft(dir) {
			return "", fmt.Errorf("service %s is not running, but left %s: %s", name, dir, Orphans)
		}
	}
	return socket, err
}

// allLeft are the directories that killed supervisors left.
func allLeft(getenv func(string) string, system string) []string {
	var all []string
	for _, root := range roots(getenv, system) {
		entries, _ := os.ReadDir(root) // a place that is not there has none
		for _, e := range entries {
			if dir := filepath.Join(root, e.Name()); isLeft(dir) {
				all = append(all, dir)
			}
		}
	}
	return all
}

// isLeft reports whether a killed supervisor left dir.
func isLeft(dir string) bool {
	socket := filepath.Join(dir, ControlSocket)
	return errors.Is(Alive(socket), ErrNotRunning) && (exists(socket) || exists(filepath.Join(dir, StateFile)))
}

// errNone tells that there is no service to choose.
var errNone = errors.New("no running service found")

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func choose(name string, found []Service, ask func(socket string) (string, error)) (string, error) {
	// Another user's may have the name of ours, and is none to choose from.
	found = slices.Clone(found)
	slices.SortStableFunc(found, func(a, b Service) int { return rank(a) - rank(b) })
	for _, s := range found {
		if s.Runtime && s.Err == nil {
			if actual, err := ask(s.Socket); name == "" || err == nil && actual == name {
				return s.Socket, nil
			}
		} else if name != "" && s.Name == name {
			return s.Socket, s.Err
		}
	}
	ours := slices.DeleteFunc(slices.Clone(found), func(s Service) bool { return s.Err != nil })
	switch {
	case name != "":
		return "", fmt.Errorf("service %s is not running%s", name, others(found))
	case len(found) == 0:
		return "", errNone
	case len(ours) > 1 && len(names(ours)) == 1:
		return "", fmt.Errorf("several services are running that are called %s; give a control socket with --socket: %s", ours[0].Name, strings.Join(sockets(ours), " or "))
	case len(ours) > 1 || len(ours) == 0 && len(found) > 1:
		return "", fmt.Errorf("several services are running; name one of %s", strings.Join(names(found), ", "))
	}
	return found[0].Socket, found[0].Err
}

// rank puts those that can be talked to first.
func rank(s Service) int {
	if s.Err != nil {
		return 1
	}
	return 0
}

func sockets(found []Service) []string {
	var list []string
	for _, s := range found {
		list = append(list, s.Socket)
	}
	return list
}

func others(found []Service) string {
	if list := names(found); len(list) > 0 {
		return "; running are " + strings.Join(list, ", ")
	}
	return " as far as can be seen from here; give its control socket with --socket"
}

func names(found []Service) []string {
	var list []string
	for _, s := range found {
		if s.Name != "" {
			list = append(list, s.Name)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
