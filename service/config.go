package service

import (
	"cmp"
	"fmt"
	"log/slog"
	"time"

	"example.com/supervisor/internal/listen"
)

// Defaults of the fields of [Config].
const (
	DefaultDrainTimeout   = 30 * time.Second
	DefaultIdleTimeout    = 5 * time.Second
	DefaultCleanupTimeout = 10 * time.Second
	DefaultUpgradeTimeout = time.Minute
)

// Config says how a program joins its supervisor and how it ends. The zero
// value is useful for a program that always runs under a supervisor.
type Config struct {
	// Listen names the listeners to open when there is no supervisor, in the
	// form of the supervisor's --listen flag: "http=tcp://127.0.0.1:8080",
	// "echo=unix:///run/echo.sock?mode=0660". Under a supervisor they are only
	// checked, because the listeners come from it. Under systemd's socket
	// activation the sockets are those of systemd, whatever the addresses here
	// (or "http=systemd"), and the names must be the same; but a single socket
	// whose unit gives it no FileDescriptorName= is the single one of this list.
	Listen []string
	// WithoutUpgrade leaves SIGHUP to the program, or to the system, which ends
	// the program for it. Otherwise a program without a supervisor upgrades
	// itself at SIGHUP: see the package's documentation.
	WithoutUpgrade bool
	// UpgradeTimeout is how long the process of an upgrade at SIGHUP has to say
	// ready before it is killed. Default one minute.
	UpgradeTimeout time.Duration
	// PIDFile is a file that has the number of the service's process when there
	// is no supervisor. After an upgrade it is that of the old process until that
	// has drained and ends, because that is when systemd reads it. It is removed
	// in the end. Upgrades in a unit of systemd need it. Default: none.
	PIDFile string
	// Logger receives one line per step. Default: slog.Default().
	Logger *slog.Logger
	// DrainTimeout is how long the open connections have to end after SIGTERM,
	// SIGINT or the end of Run's context. A supervisor states its own time with
	// each drain; where it sends SIGTERM instead, it does not wait longer than
	// its own --stop-grace, or --drain-timeout and --stop-grace once the channel
	// has ended, before it sends SIGKILL. Default 30 s.
	DrainTimeout time.Duration
	// IdleTimeout is how long a connection that is idle while the service
	// drains has to send one more request, which is answered with "Connection:
	// close", before it is closed. It is never longer than the drain itself.
	// Default 5 s.
	IdleTimeout time.Duration
	// CleanupTimeout is how long each cleanup hook has. Default 10 s. A
	// supervisor waits less long by default: its --stop-grace, 5 s, after the
	// drain for all hooks together, then it sends SIGTERM, which changes
	// nothing, and after as long again SIGKILL. Raise --stop-grace so that
	// twice its value is enough for all hooks.
	CleanupTimeout time.Duration
	// WithoutSojourn leaves out of the statistics how long each connection had
	// waited in the accept queue. On Linux it is read for TCP connections with
	// one getsockopt(2) right after accept, about half a microsecond beside the
	// thirty or so that a connection costs the kernel; where nothing waits, 2,000
	// times a second at most. Without it the supervisor sees only for how long
	// those have waited that wait when it looks.
	WithoutSojourn bool
}

// Validate reports the first field that cannot be used. [Join] calls it.
func (c Config) Validate() error {
	if _, err := listen.ParseSpecs(c.Listen); err != nil {
		return fmt.Errorf("cannot use Listen: %w", err)
	}
	for _, f := range []struct {
		name  string
		value time.Duration
	}{
		{"DrainTimeout", c.DrainTimeout},
		{"IdleTimeout", c.IdleTimeout},
		{"CleanupTimeout", c.CleanupTimeout},
		{"UpgradeTimeout", c.UpgradeTimeout},
	} {
		if f.value < 0 {
			return fmt.Errorf("cannot use %s %v: it must not be negative; 0 means the default", f.name, f.value)
		}
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.DrainTimeout = cmp.Or(c.DrainTimeout, DefaultDrainTimeout)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, DefaultIdleTimeout)
	c.CleanupTimeout = cmp.Or(c.CleanupTimeout, DefaultCleanupTimeout)
	c.UpgradeTimeout = cmp.Or(c.UpgradeTimeout, DefaultUpgradeTimeout)
	return c
}
