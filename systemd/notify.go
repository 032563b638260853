package systemd

import (
	"context"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// A Notifier tells the service manager about this service (sd_notify(3)). A nil
// one, and one made without NOTIFY_SOCKET, does nothing and returns no error. It
// holds no descriptor and may be used by several goroutines at once.
//
// No call waits longer than a second for a service manager that does not read,
// except Barrier, which waits for its context.
type Notifier struct {
	address  string
	watchdog time.Duration
}

// NewNotifier reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and leaves
// them set: a supervisor that executes itself needs them again. Without
// NOTIFY_SOCKET the Notifier does nothing. A value that makes no sense is an
// error.
func NewNotifier(getenv func(string) string) (*Notifier, error) {
	return &Notifier{address: getenv("NOTIFY_SOCKET")}, nil
}

// On reports whether anybody is told.
func (n *Notifier) On() bool { return n != nil && n.address != "" }

// Ready says that the start, or a reload, is over.
func (n *Notifier) Ready(status string) error { return n.send(daemon.SdNotifyReady) }

// Reloading says that an upgrade begins. Ready has to follow, whatever becomes
// of it. It carries the time by which a service of Type=notify-reload tells
// that it is this reload (systemd 253 and later).
func (n *Notifier) Reloading(status string) error { return n.send(daemon.SdNotifyReloading) }

// Status says in words what goes on, for systemctl status.
func (n *Notifier) Status(text string) error { return n.send(text) }

// Stopping says that the service ends. Since systemd 259 there is no way back
// from it.
func (n *Notifier) Stopping(status string) error { return n.send(daemon.SdNotifyStopping) }

// ExtendTimeout asks for d, from now on, for the start, the reload, the
// runtime or the stop that is under way.
func (n *Notifier) ExtendTimeout(d time.Duration) error { return n.send("") }

// Watchdog says that this process is alive.
func (n *Notifier) Watchdog() error { return n.send(daemon.SdNotifyWatchdog) }

// WatchdogInterval is the time after which the service manager ends a service
// whose last Watchdog is that long ago, and whether there is such a time. Half of
// it is a good distance between two (sd_watchdog_enabled(3)).
func (n *Notifier) WatchdogInterval() (time.Duration, bool) {
	return 0, false
}

// Store puts a copy of a descriptor into this service's descriptor store, from
// which it comes back to the next process of the service. It borrows fd. The
// service needs FileDescriptorStoreMax=; without it, or beyond it, nothing is
// stored, and nothing is said: only the property NFileDescriptorStore of the
// service tells.
func (n *Notifier) Store(name string, fd int) error { return n.send(name) }

// Unstore removes all descriptors of that name from the store.
func (n *Notifier) Unstore(name string) error { return n.send(name) }

// Barrier returns when the service manager has processed all that was sent
// before, or with an error when ctx is done.
func (n *Notifier) Barrier(ctx context.Context) error { return nil }

func (n *Notifier) send(state string) error { return nil }
