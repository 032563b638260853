package protocol

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/supervisor/fdpass"
)

// firstFD is the first descriptor behind the standard ones (sd_listen_fds(3)).
const firstFD = 3

// Facts are what an environment is made of. The listeners are at the descriptors
// from 3 on, in their order, but for tableflip.
type Facts struct {
	Listeners  []fdpass.Listener
	Generation int
	// PID is the program's own as it is to be written, Parent its parent's.
	PID    string
	Parent int
	// Notify is the path of a socket on which the program may tell how it is; ""
	// if nobody listens.
	Notify string
	// Watchdog is how long the program may be silent; 0: as long as it likes.
	Watchdog time.Duration
}

// Env is what a program finds in its environment.
func (n Name) Env(f Facts) []string {
	switch n {
	case ListenFDs:
		names := make([]string, len(f.Listeners))
		for i, l := range f.Listeners {
			names[i] = l.Name
		}
		env := []string{
			"LISTEN_FDS=" + strconv.Itoa(len(f.Listeners)),
			"LISTEN_PID=" + f.PID,
			"LISTEN_FDNAMES=" + strings.Join(names, ":"),
		}
		if f.Notify != "" {
			env = append(env, "NOTIFY_SOCKET="+f.Notify)
		}
		if f.Notify != "" && f.Watchdog > 0 { // sd_watchdog_enabled(3)
			env = append(env, "WATCHDOG_USEC="+strconv.FormatInt(f.Watchdog.Microseconds(), 10), "WATCHDOG_PID="+f.PID)
		}
		return env
	case Tableflip:
		return []string{"TABLEFLIP_HAS_PARENT_7DIU3=yes"}
	case Einhorn:
		env := []string{
			"EINHORN_FD_COUNT=" + strconv.Itoa(len(f.Listeners)),
			"EINHORN_MASTER_PID=" + strconv.Itoa(f.Parent),
		}
		for i := range f.Listeners {
			env = append(env, fmt.Sprintf("EINHORN_FD_%d=%d", i, firstFD+i))
		}
		if f.Notify != "" {
			env = append(env, "EINHORN_SOCK_PATH="+f.Notify)
		}
		return env
	case ServerStarter:
		ports := make([]string, len(f.Listeners))
		for i, l := range f.Listeners {
			ports[i] = fmt.Sprintf("%s=%d", l.Address, firstFD+i)
		}
		return []string{
			"SERVER_STARTER_PORT=" + strings.Join(ports, ";"),
			"SERVER_STARTER_GENERATION=" + strconv.Itoa(f.Generation),
		}
	case Nginx:
		var fds strings.Builder
		for i := range f.Listeners {
			fmt.Fprintf(&fds, "%d;", firstFD+i)
		}
		return []string{"NGINX=" + fds.String()}
	}
	return nil
}

// IsVariable reports whether a variable is one by which a protocol speaks to a
// program: one that is meant for somebody else is not passed on.
func IsVariable(key string) bool {
	return strings.HasPrefix(key, "EINHORN_FD_") || slices.Contains([]string{
		"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "FDSTORE",
		"TABLEFLIP_HAS_PARENT_7DIU3",
		"EINHORN_FDS", "EINHORN_MASTER_PID", "EINHORN_SOCK_PATH", "EINHORN_SOCK_FD", "EINHORN_CHILD_INDEX",
		"SERVER_STARTER_PORT", "SERVER_STARTER_GENERATION",
		"NGINX",
	}, key)
}
