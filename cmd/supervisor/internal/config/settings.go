package config

import (
	"github.com/spf13/pflag"
)

// A Setting is one thing that can be said, as a flag and in the file.
type Setting struct {
	// Name is the name of the flag and the key of the file.
	Name string
	// Group is the heading under which the documentation tells of it.
	Group string
	// Usage says what it means, beginning with the name of its value in
	// backquotes.
	Usage string
	// Example is a value as the file has it.
	Example string

	add func(fs *pflag.FlagSet, name, usage string)
}

// Settings lists all that can be said besides the program, bound to c.
func (c *Config) Settings() []Setting {
	var all []Setting
	for _, group := range [][]Setting{c.service(), c.speaking(), c.upgrading(), c.hooking(), c.restarting(), c.probing(), c.queueing(), c.observing()} {
		all = append(all, group...)
	}
	return all
}

// AddFlags adds a flag for each setting, with c's present values as defaults.
func (c *Config) AddFlags(fs *pflag.FlagSet) {
	for _, s := range c.Settings() {
		s.add(fs, s.Name, s.Usage)
	}
}

func (c *Config) service() []Setting {
	const group = "The service"
	return []Setting{
		{"name", group, "`NAME` of the service: letters, digits and any of \"._-\", not beginning with a dot (default: the base name of the program)", `"web"`, text(&c.Name)},
		{"listen", group, "listener as `NAME=NETWORK://ADDRESS`[?backlog=N][&mode=OCTAL]; networks: tcp tcp4 tcp6 udp udp4 udp6 unix unixpacket unixgram; or NAME=systemd for the one that a socket unit passes with FileDescriptorName=NAME; may be repeated (default: all that systemd passes)", `["http=tcp://127.0.0.1:8080", "admin=unix:///run/web/admin.sock?mode=0660"]`, list(&c.Listen)},
		{"dir", group, "working `DIRECTORY` of the program; a relative path of the program is taken from here (default: the supervisor's own)", `"/srv/web"`, text(&c.Dir)},
		{"env", group, "`KEY=VALUE` added to the program's environment; may be repeated", `["GOMEMLIMIT=512MiB"]`, list(&c.Env)},
		{"env-file", group, "`FILE` of further variables for the program, in the format of systemd's EnvironmentFile=, an absolute path; read anew at every upgrade; with a - before it, it need not be there; env goes before it; may be repeated", `["/etc/web/web.env", "-/etc/web/local.env"]`, list(&c.EnvFile)},
		{"env-clear", group, "give the program none of the supervisor's own environment but PATH", `true`, toggle(&c.EnvClear)},
		{"state-dir", group, "`DIRECTORY` of the history of releases, which outlives the supervisor (default: $STATE_DIRECTORY, else $XDG_STATE_HOME/supervisor/NAME, else none, and the history ends with the supervisor)", `"/var/lib/web"`, text(&c.StateDir)},
		{"start", group, "`WHAT` is started where no generation is alive: committed, the last committed release if the history knows the configured one as one that failed, was rolled back or replaced; or configured, in any case", `"configured"`, text(&c.Start)},
		{"run-dir", group, "`DIRECTORY` of the control socket (default: $RUNTIME_DIRECTORY, else $XDG_RUNTIME_DIR/supervisor/NAME, else /run/supervisor/NAME)", `"/run/web"`, text(&c.RunDir)},
	}
}

func (c *Config) speaking() []Setting {
	const group = "How the program is spoken to"
	return []Setting{
		{"protocol", group, "`PROTOCOL` of the program: native (package service, or docs/protocol.md), listen-fds, tableflip, einhorn, server-starter, nginx or none (docs/protocols.md)", `"listen-fds"`, text(&c.Protocol)},
		{"ready", group, "`WAY` in which the program is seen to be ready: word, what it says as its protocol has it; probe, what the probe says; or a time for which it has to live (default: that of the protocol)", `"2s"`, text(&c.Ready)},
		{"stop-schedule", group, "`SIGNALS` that tell the program to end, with times between them, such as QUIT or QUIT/20s/TERM; drain-timeout and stop-grace hold besides (default: that of the protocol)", `"QUIT/20s/TERM"`, text(&c.StopSchedule)},
		{"watchdog", group, "`TIME` within which a listen-fds program must say WATCHDOG=1 again and again, as systemd's WatchdogSec= has it; one that does not is ended by SIGABRT (default: it need not)", `"10s"`, text(&c.Watchdog)},
	}
}

func (c *Config) upgrading() []Setting {
	const group = "Upgrades"
	return []Setting{
		{"ready-timeout", group, "how long a candidate may take from its start to its ready, probe included", `"30s"`, duration(&c.ReadyTimeout)},
		{"overlap", group, "how long both generations accept at least before the gate is asked", `"0s"`, duration(&c.Overlap)},
		{"settle", group, "how long all must have been well without a break before the cut-over", `"100ms"`, duration(&c.Settle)},
		{"gate-timeout", group, "how long the gate may take to open before the upgrade is aborted", `"10s"`, duration(&c.GateTimeout)},
		{"pause-timeout", group, "how long a generation may take to answer that it has paused or resumed", `"2s"`, duration(&c.PauseTimeout)},
		{"bake", group, "how long the new generation is watched alone before the commit; until then the old one can accept again at once", `"5s"`, duration(&c.Bake)},
		{"drain-timeout", group, "how long an old generation may finish what it has accepted before its connections are cut", `"30s"`, duration(&c.DrainTimeout)},
		{"stop-grace", group, "how long a generation has from the end of its drain, or from SIGTERM, to the next harsher means", `"5s"`, duration(&c.StopGrace)},
		{"max-draining", group, "`NUMBER` of generations that may be draining when an upgrade starts", `8`, number(&c.MaxDraining)},
	}
}

func (c *Config) hooking() []Setting {
	const group = "Checks and hooks"
	const word = "`WORD` of a command: the program, then its arguments, one flag each; no shell "
	return []Setting{
		{"check", group, word + "(docs/hooks.md). It must exit with status 0, or an upgrade is refused; {program} stands for the candidate's program", `["{program}", "-check-config"]`, list(&c.Check)},
		{"hook-before-start", group, word + "that is run when admission has let an upgrade in; it is refused if the command fails", `["/etc/web/hook", "migrate"]`, list(&c.HookBeforeStart)},
		{"hook-after-ready", group, word + "that is run when the candidate is ready; the upgrade is aborted if it fails", `["/etc/web/hook", "warm"]`, list(&c.HookAfterReady)},
		{"hook-before-cut-over", group, word + "that is run before the gate is asked; the upgrade is aborted if it fails", `["/etc/web/hook", "smoke-test"]`, list(&c.HookBeforeCutOver)},
		{"hook-after-commit", group, word + "that is run when an upgrade was committed", `["/etc/web/hook", "announce"]`, list(&c.HookAfterCommit)},
		{"hook-on-abort", group, word + "that is run when an upgrade was aborted, or refused after hook-before-start", `["/etc/web/hook", "undo"]`, list(&c.HookOnAbort)},
		{"hook-on-rollback", group, word + "that is run when an upgrade was rolled back", `["/etc/web/hook", "undo"]`, list(&c.HookOnRollback)},
		{"hook-timeout", group, "how long each of these commands may take", `"30s"`, duration(&c.HookTimeout)},
	}
}

func (c *Config) restarting() []Setting {
	const group = "Restarts after a crash"
	return []Setting{
		{"backoff-min", group, "pause before a crashed active generation is started again; it doubles with every failure", `"100ms"`, duration(&c.BackoffMin)},
		{"backoff-max", group, "longest such pause", `"30s"`, duration(&c.BackoffMax)},
		{"stable-after", group, "how long a restarted generation must live for its failures to be forgotten", `"10s"`, duration(&c.StableAfter)},
	}
}

func (c *Config) probing() []Setting {
	const group = "Probes"
	return []Setting{
		{"probe", group, "`PATH` of an HTTP GET to each generation's private probe socket that must be answered with a status of 2xx (default: none; the program's own word is enough)", `"/healthz"`, text(&c.Probe)},
		{"probe-command", group, "`WORD` of a command that must exit with status 0: the program, then its arguments, one flag each; no shell", `["/usr/local/bin/check-web", "--quick"]`, list(&c.ProbeCommand)},
		{"probe-interval", group, "pause between two probes", `"100ms"`, duration(&c.ProbeInterval)},
		{"probe-timeout", group, "how long one probe may take", `"2s"`, duration(&c.ProbeTimeout)},
		{"probe-failures", group, "`NUMBER` of probes that fail in a row before the new generation counts as unhealthy during the bake", `3`, number(&c.ProbeFailures)},
	}
}

func (c *Config) queueing() []Setting {
	const group = "The accept queue"
	return []Setting{
		{"queue-target", group, "how long connections may wait to be accepted all the time; 5ms is CoDel's, hardly more than the kernel's own clock can tell from nothing", `"5ms"`, duration(&c.QueueTarget)},
		{"queue-interval", group, "for how long the oldest connection must have waited longer than queue-target before that counts against a generation; 100ms is CoDel's: a burst is over by then, and a dropped client would wait ten times as long", `"100ms"`, duration(&c.QueueInterval)},
		{"queue-headroom", group, "for how long the queue must have room for all arrivals with nobody accepting, or the gate stays shut; 20ms outlasts the pauses of a healthy program", `"20ms"`, duration(&c.QueueHeadroom)},
		{"queue-reaction", group, "the upgrade is undone if the queue, growing as it does, would be full within this time; 50ms is enough to notice it and have the old generation accept again", `"50ms"`, duration(&c.QueueReaction)},
		{"queue", group, "`LISTENER:key=value`[,key=value] says target, interval, headroom or reaction for one listener; LISTENER:off leaves it out of every decision, *:off all that are not named; may be repeated", `["http:target=20ms,interval=500ms", "admin:off"]`, list(&c.Queue)},
	}
}

func (c *Config) observing() []Setting {
	const group = "Metrics and logs"
	return []Setting{
		{"metrics", group, "TCP `HOST:PORT` that serves GET /metrics as well; without a host, 127.0.0.1 (default: the control socket only)", `"127.0.0.1:9100"`, text(&c.Metrics)},
		{"log-format", group, "`FORMAT` of the log: text or json on standard error, journal, or auto: journal where standard error is the journal, else text", `"auto"`, text(&c.LogFormat)},
		{"log-level", group, "least `LEVEL` that is logged: debug, info, warn or error", `"info"`, text(&c.LogLevel)},
	}
}

func text(p *string) func(*pflag.FlagSet, string, string) {
	return func(fs *pflag.FlagSet, name, usage string) { fs.StringVar(p, name, *p, usage) }
}

func list(p *[]string) func(*pflag.FlagSet, string, string) {
	return func(fs *pflag.FlagSet, name, usage string) { fs.StringArrayVar(p, name, *p, usage) }
}

func toggle(p *bool) func(*pflag.FlagSet, string, string) {
	return func(fs *pflag.FlagSet, name, usage string) { fs.BoolVar(p, name, *p, usage) }
}

func number(p *int) func(*pflag.FlagSet, string, string) {
	return func(fs *pflag.FlagSet, name, usage string) { fs.IntVar(p, name, *p, usage) }
}

func duration(p *Duration) func(*pflag.FlagSet, string, string) {
	return func(fs *pflag.FlagSet, name, usage string) { fs.Var(p, name, usage) }
}
