// Package config says what `supervisor run` can be told, by flags and by a
// file, and checks it.
//
// It guarantees that flags and file say the same things: a key of the file is
// the flag of the same name without its dashes. A flag wins over the file.
// Nothing is ignored: an unknown key, a value of the wrong type and a value
// that cannot be used are all errors, which name the place where it was said.
package config

import (
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/protocol"
	"example.com/supervisor/health"
	"example.com/supervisor/upgrade"
)

// Config is what `supervisor run` can be told. The tags are the keys of the
// file and the names of the flags; what they mean and their defaults are in
// [Config.Settings], from which docs/configuration.md is made.
type Config struct {
	// Program is the program and its arguments; on the command line they
	// follow "--".
	Program []string `toml:"program"`

	// Activated tells that the service manager has passed sockets, or another
	// supervisor: then none need be named. It is no setting.
	Activated bool `toml:"-"`
	// Resumes tells that there is a supervisor to go on from, whose generations
	// may serve: that the program is not there at the moment does not matter then,
	// until it is to be started. It is no setting.
	Resumes bool `toml:"-"`

	Name     string   `toml:"name"`
	Listen   []string `toml:"listen"`
	Dir      string   `toml:"dir"`
	Env      []string `toml:"env"`
	EnvFile  []string `toml:"env-file"`
	EnvClear bool     `toml:"env-clear"`
	RunDir   string   `toml:"run-dir"`
	StateDir string   `toml:"state-dir"`
	Start    string   `toml:"start"`

	Protocol     string `toml:"protocol"`
	Ready        string `toml:"ready"`
	StopSchedule string `toml:"stop-schedule"`
	Watchdog     string `toml:"watchdog"`

	ReadyTimeout Duration `toml:"ready-timeout"`
	Overlap      Duration `toml:"overlap"`
	Settle       Duration `toml:"settle"`
	GateTimeout  Duration `toml:"gate-timeout"`
	PauseTimeout Duration `toml:"pause-timeout"`
	Bake         Duration `toml:"bake"`
	DrainTimeout Duration `toml:"drain-timeout"`
	StopGrace    Duration `toml:"stop-grace"`
	MaxDraining  int      `toml:"max-draining"`

	Check             []string `toml:"check"`
	HookBeforeStart   []string `toml:"hook-before-start"`
	HookAfterReady    []string `toml:"hook-after-ready"`
	HookBeforeCutOver []string `toml:"hook-before-cut-over"`
	HookAfterCommit   []string `toml:"hook-after-commit"`
	HookOnAbort       []string `toml:"hook-on-abort"`
	HookOnRollback    []string `toml:"hook-on-rollback"`
	HookTimeout       Duration `toml:"hook-timeout"`

	BackoffMin  Duration `toml:"backoff-min"`
	BackoffMax  Duration `toml:"backoff-max"`
	StableAfter Duration `toml:"stable-after"`

	Probe         string   `toml:"probe"`
	ProbeCommand  []string `toml:"probe-command"`
	ProbeInterval Duration `toml:"probe-interval"`
	ProbeTimeout  Duration `toml:"probe-timeout"`
	ProbeFailures int      `toml:"probe-failures"`

	QueueTarget   Duration `toml:"queue-target"`
	QueueInterval Duration `toml:"queue-interval"`
	QueueHeadroom Duration `toml:"queue-headroom"`
	QueueReaction Duration `toml:"queue-reaction"`
	Queue         []string `toml:"queue"`

	Metrics   string `toml:"metrics"`
	LogFormat string `toml:"log-format"`
	LogLevel  string `toml:"log-level"`
}

// What a supervisor starts that finds none of its generations alive.
const (
	// StartCommitted is the last committed release, where the configured one is
	// known to be another.
	StartCommitted = "committed"
	// StartConfigured is the configured release, whatever is known of it.
	StartConfigured = "configured"
)

// Default returns the settings that hold where nothing else is said.
func Default() Config {
	queue := health.Limits{}.WithDefaults()
	return Config{
		ReadyTimeout:  Duration(30 * time.Second),
		Settle:        Duration(100 * time.Millisecond),
		GateTimeout:   Duration(10 * time.Second),
		PauseTimeout:  Duration(2 * time.Second),
		Bake:          Duration(5 * time.Second),
		DrainTimeout:  Duration(30 * time.Second),
		StopGrace:     Duration(5 * time.Second),
		MaxDraining:   8,
		HookTimeout:   Duration(30 * time.Second),
		BackoffMin:    Duration(100 * time.Millisecond),
		BackoffMax:    Duration(30 * time.Second),
		StableAfter:   Duration(10 * time.Second),
		ProbeInterval: Duration(100 * time.Millisecond),
		ProbeTimeout:  Duration(2 * time.Second),
		ProbeFailures: 3,
		QueueTarget:   Duration(queue.Target),
		QueueInterval: Duration(queue.Interval),
		QueueHeadroom: Duration(queue.Headroom),
		QueueReaction: Duration(queue.Reaction),
		Protocol:      string(protocol.Native),
		Start:         StartCommitted,
		LogFormat:     "auto",
		LogLevel:      "info",
	}
}

// ServiceName is the name of the service: the one given, or else the base name
// of the program.
func (c Config) ServiceName() string {
	if c.Name != "" || len(c.Program) == 0 {
		return c.Name
	}
	return filepath.Base(c.Program[0])
}

// UpgradeProgram is the program as package upgrade wants it.
func (c Config) UpgradeProgram() upgrade.Program {
	return upgrade.Program{Command: c.Program, Dir: c.Dir, Env: c.Env, EnvFiles: c.EnvFile, Protocol: c.Protocol, Ready: c.Ready, Stop: c.StopSchedule, Watchdog: c.Watchdog}
}

// Policy is the part of c that package upgrade keeps.
func (c Config) Policy() upgrade.Policy {
	return upgrade.Policy{
		AdmissionTimeout: c.admissionTimeout(),
		Hooks:            c.hookTimes(),
		ReadyTimeout:     time.Duration(c.ReadyTimeout),
		Overlap:          time.Duration(c.Overlap),
		GateTimeout:      time.Duration(c.GateTimeout),
		PauseTimeout:     time.Duration(c.PauseTimeout),
		Bake:             time.Duration(c.Bake),
		DrainTimeout:     time.Duration(c.DrainTimeout),
		StopGrace:        time.Duration(c.StopGrace),
		BackoffMin:       time.Duration(c.BackoffMin),
		BackoffMax:       time.Duration(c.BackoffMax),
		StableAfter:      time.Duration(c.StableAfter),
		MaxDraining:      c.MaxDraining,
	}
}

// Duration is a time.Duration written as in "5s", in a file and as a flag.
type Duration time.Duration

// digits are the numbers of a duration: with small ones, what was only too long
// is a duration.
var digits = regexp.MustCompile("[0-9]+")

// UnmarshalText reads a duration such as "1m30s".
func (d *Duration) UnmarshalText(text []byte) error {
	value, err := time.ParseDuration(string(text))
	if err != nil {
		if _, err := time.ParseDuration(digits.ReplaceAllString(string(text), "1")); err == nil {
			return fmt.Errorf("%q is too long; the longest duration is %v", text, time.Duration(math.MaxInt64).Truncate(time.Hour))
		}
		return fmt.Errorf("%q is not a duration such as 5s, 100ms or 1m30s", text)
	}
	*d = Duration(value)
	return nil
}

// Set reads the value of a flag.
func (d *Duration) Set(text string) error { return d.UnmarshalText([]byte(text)) }

// String writes d so that Set reads it.
func (d Duration) String() string { return time.Duration(d).String() }

// Type names the kind of value in the help.
func (Duration) Type() string { return "duration" }
