package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/protocol"
	"example.com/supervisor/internal/listen"
	"example.com/supervisor/upgrade"
)

// maxName is the length of the longest name of a service, in bytes. It leaves
// room in the path of the control socket.
const maxName = 64

// Validate reports all settings that cannot be used, joined, each a
// *SettingError without its place. It looks for the program, its directory and
// the probe's command; everything else is tried when it is needed.
func (c Config) Validate() error {
	var wrong []error
	check := func(key string, err error) {
		if err != nil {
			wrong = append(wrong, &SettingError{Key: key, Err: err})
		}
	}
	if !c.Resumes {
		check("dir", checkDir(c.Dir))
	}
	if err := c.checkProgram(); err != nil {
		check(programKey, err)
	} else {
		check("name", CheckName(c.ServiceName()))
	}
	check("listen", c.checkListen())
	check("env", CheckEnv(c.Env))
	check("env-file", upgrade.CheckEnvFiles(c.EnvFile))
	check("start", oneOf(c.Start, StartCommitted, StartConfigured))
	check("probe", checkProbe(c.Probe))
	c.checkProtocol(check)
	check("probe-command", checkCommand(c.ProbeCommand))
	check("check", noNUL(c.Check))
	for h, words := range c.Hooks() {
		check("hook-"+string(h), noNUL(words))
	}
	check("queue", c.checkQueue())
	check("queue-target", checkTarget(c.commonLimits(), "queue-interval"))
	check("metrics", checkMetrics(c.Metrics))
	check("log-format", oneOf(c.LogFormat, "auto", "text", "json", "journal"))
	check("log-level", checkLevel(c.LogLevel))
	for key, value := range c.positive() {
		check(key, atLeast(value, 1))
	}
	check("overlap", atLeast(c.Overlap, 0))
	check("settle", atLeast(c.Settle, 0))
	check("bake", atLeast(c.Bake, 0))
	check("max-draining", within(c.MaxDraining, 1, 1000))
	check("probe-failures", within(c.ProbeFailures, 1, 1_000_000))
	if c.BackoffMin > c.BackoffMax {
		check("backoff-min", fmt.Errorf("must not be more than backoff-max: %v, %v", c.BackoffMin, c.BackoffMax))
	}
	if c.Settle >= c.GateTimeout {
		check("settle", fmt.Errorf("must be less than gate-timeout, or the gate can never open: %v, %v", c.Settle, c.GateTimeout))
	}
	slices.SortStableFunc(wrong, func(a, b error) int {
		return strings.Compare(a.(*SettingError).Key, b.(*SettingError).Key)
	})
	return errors.Join(wrong...)
}

// checkGiven refuses what was said without a value, which would otherwise be as
// if nothing had been said: it is probably an unset variable of a script.
func (c Config) checkGiven(given func(key string) bool) error {
	var wrong []error
	for _, s := range []struct{ key, value string }{{"name", c.Name}, {"run-dir", c.RunDir}, {"state-dir", c.StateDir}} {
		if s.value == "" && given(s.key) {
			wrong = append(wrong, &SettingError{Key: s.key, Err: errors.New("is empty; give a value, or leave it out")})
		}
	}
	return errors.Join(wrong...)
}

// positive are the settings of time that must be more than 0.
func (c Config) positive() map[string]Duration {
	return map[string]Duration{
		"ready-timeout":  c.ReadyTimeout,
		"gate-timeout":   c.GateTimeout,
		"pause-timeout":  c.PauseTimeout,
		"drain-timeout":  c.DrainTimeout,
		"stop-grace":     c.StopGrace,
		"hook-timeout":   c.HookTimeout,
		"backoff-min":    c.BackoffMin,
		"backoff-max":    c.BackoffMax,
		"stable-after":   c.StableAfter,
		"probe-interval": c.ProbeInterval,
		"probe-timeout":  c.ProbeTimeout,
		"queue-target":   c.QueueTarget,
		"queue-interval": c.QueueInterval,
		"queue-headroom": c.QueueHeadroom,
		"queue-reaction": c.QueueReaction,
	}
}

// checkProgram resolves the program as an upgrade will. What is wrong with the
// directory is not the program's fault.
func (c Config) checkProgram() error {
	if len(c.Program) == 0 {
		return errors.New("no program given; add -- PROGRAM [ARGS...], or program = [...] in the file")
	}
	if err := noNUL(c.Program); err != nil {
		return err
	}
	if c.Resumes || checkDir(c.Dir) != nil {
		return nil
	}
	program := c.UpgradeProgram()
	program.EnvFiles = nil // not the program's fault; they are read when it is to be started
	_, err := upgrade.Resolve(program)
	return err
}

// Speaks says why r could not be spoken to as it asks for, with c for the rest.
func (c Config) Speaks(r upgrade.Program) error {
	var wrong []error
	c.Protocol, c.Ready, c.StopSchedule, c.Watchdog = r.Protocol, r.Ready, r.Stop, r.Watchdog
	c.checkProtocol(func(key string, err error) {
		if err != nil {
			wrong = append(wrong, &SettingError{Key: key, Err: err})
		}
	})
	return errors.Join(wrong...)
}

// checkProtocol looks at how the program is spoken to.
func (c Config) checkProtocol(check func(key string, err error)) {
	p, err := protocol.Parse(c.Protocol)
	check("protocol", err)
	if err != nil {
		return
	}
	ready, err := p.ParseReadiness(c.Ready)
	switch {
	case err == nil && p.Name == protocol.Native && c.Ready != "" && ready.By != protocol.Word:
		err = errors.New("a program that speaks the native protocol says so itself")
	case err == nil && ready.By == protocol.Probe && len(c.ProbeCommand) == 0:
		err = errors.New("needs a probe-command")
	}
	check("ready", err)
	stop, err := p.ParseStop(c.StopSchedule)
	switch limit := time.Duration(c.DrainTimeout); {
	case err == nil && p.Name == protocol.Native && c.StopSchedule != "":
		err = errors.New("a program that speaks the native protocol is told to drain by a message")
	case err == nil && stop.Total() > limit:
		err = fmt.Errorf("takes %v until its last signal, and drain-timeout is %v: raise that", stop.Total(), limit)
	}
	check("stop-schedule", err)
	_, err = p.ParseWatchdog(c.Watchdog)
	check("watchdog", err)
	if p.Name != protocol.Native && c.Probe != "" {
		check("probe", fmt.Errorf("a program that is spoken to by %s has no probe socket; use probe-command", p.Name))
	}
}

// checkDir looks at the working directory.
func checkDir(dir string) error {
	if dir == "" {
		return nil
	}
	if err := noNUL([]string{dir}); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a directory", dir)
	}
	return err
}

// CheckName reports why name cannot be the name of a service.
func CheckName(name string) error {
	wrong := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
	}
	switch {
	case name == "":
		return errors.New("no name given")
	case len(name) > maxName:
		return fmt.Errorf("%q is longer than %d bytes; choose a shorter name", name, maxName)
	case strings.HasPrefix(name, "."), strings.HasPrefix(name, "-"), strings.ContainsFunc(name, wrong):
		return fmt.Errorf("%q cannot be the name of a service; use letters, digits and any of \"._-\", beginning with a letter or digit", name)
	}
	return nil
}

func (c Config) checkListen() error {
	if len(c.Listen) == 0 && !c.Activated {
		return errors.New("no listener given; add for example --listen http=tcp://127.0.0.1:8080, or start the service by a socket unit")
	}
	_, err := listen.ParseSpecs(c.Listen)
	return err
}

// CheckEnv refuses what would break the program's own understanding of its
// channel, besides what no environment can hold.
func CheckEnv(env []string) error {
	for _, entry := range env {
		key, _, ok := strings.Cut(entry, "=")
		if !ok || key == "" {
			return fmt.Errorf("%q is not of the form KEY=VALUE", entry)
		}
		if upgrade.IsReserved(key) {
			return fmt.Errorf("%s is set by the supervisor itself; leave it out", key)
		}
	}
	for _, entry := range env { // the values may be secrets, and this is logged
		if strings.ContainsRune(entry, 0) {
			key, _, _ := strings.Cut(entry, "=")
			return fmt.Errorf("%q contains a NUL byte", key)
		}
	}
	return nil
}

func noNUL(words []string) error {
	for _, word := range words {
		if strings.ContainsRune(word, 0) {
			return fmt.Errorf("%q contains a NUL byte", word)
		}
	}
	return nil
}

func checkProbe(path string) error {
	if path != "" && !strings.HasPrefix(path, "/") {
		return fmt.Errorf("%q is not a path; begin it with a slash as in /healthz", path)
	}
	if strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return fmt.Errorf("%q contains a space or control character; write it as %%20", path)
	}
	return nil
}

func checkCommand(words []string) error {
	if len(words) == 0 {
		return nil
	}
	if err := noNUL(words); err != nil {
		return err
	}
	if _, err := exec.LookPath(words[0]); err != nil {
		return fmt.Errorf("cannot be run: %w", err)
	}
	return nil
}

// MetricsAddress is the TCP address for metrics with its host; empty if there
// is to be none.
func (c Config) MetricsAddress() string {
	host, port, err := net.SplitHostPort(c.Metrics)
	if err != nil || host != "" {
		return c.Metrics
	}
	return net.JoinHostPort("127.0.0.1", port)
}

func checkMetrics(address string) error {
	if address == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT, such as 127.0.0.1:9100", address)
	}
	return nil
}

// Level is the least level that is logged. It is that of a valid Config.
func (c Config) Level() slog.Level {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // checked by Validate
	return level
}

func checkLevel(name string) error {
	return oneOf(name, "debug", "info", "warn", "error")
}

func oneOf(value string, known ...string) error {
	if slices.Contains(known, value) {
		return nil
	}
	return fmt.Errorf("%q is none of %s", value, strings.Join(known, ", "))
}

func atLeast(d Duration, least time.Duration) error {
	if time.Duration(d) >= least {
		return nil
	}
	if least == 0 {
		return fmt.Errorf("must not be negative: %v", d)
	}
	return fmt.Errorf("must be more than 0: %v", d)
}

func within(n, least, most int) error {
	if n < least || n > most {
		return fmt.Errorf("must be from %d to %d: %d", least, most, n)
	}
	return nil
}
