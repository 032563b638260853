package compare

import (
	"strings"
	"testing"
	"time"

	"example.com/supervisor/internal/rig"
	"example.com/supervisor/upgrade"
)

// ours is this project: package service below "supervisor run".
type ours struct {
	supervisor, server string
	// watched leaves settle window and bake as they are by default. Without, there
	// is neither, as the peers have none.
	watched bool
}

func (o ours) title() string {
	if o.watched {
		return "supervisor, defaults"
	}
	return "supervisor, no bake"
}

func (o ours) missing() string { return "" }

func (o ours) version(tb testing.TB) string {
	text, _, _ := strings.Cut(output(tb, o.supervisor, "version"), ",")
	return strings.TrimPrefix(text, "supervisor ")
}

func (o ours) about() string {
	if o.watched {
		return "As before, with the settle window (100 ms) and the bake (5 s) that it has by default: for so long the old version can come back."
	}
	return "`supervisor run --probe /health`, the service with package `service`; deployed by `supervisor upgrade`. " +
		"Without settle window and bake, as the others have none: what a version does wrong after the commit is then not undone, " +
		"but the listener stays open, and a crashed version is started again."
}

type supervision struct {
	*site
	ours
	*rig.Supervisor
}

func (o ours) begin(tb testing.TB, first release) deployment {
	tb.Helper()
	d := &supervision{site: newSite(tb, o.server), ours: o}
	d.site.release(first)
	d.configure("")
	d.Supervisor = rig.Start(tb, rig.Config{
		Binary: o.supervisor, Dir: d.dir,
		Flags: []string{
			"--listen", "http=tcp://" + d.at, "--config", d.dir + "/web.toml",
			"--probe", "/health", "--ready-timeout", patience.String(),
		},
		Program: []string{o.server, "-by", "supervised", "-settings", d.settings()},
	})
	return d
}

// configure writes the supervisor's configuration.
func (d *supervision) configure(more string) {
	text := "drain-timeout = \"15s\"\n" + more
	if !d.watched {
		text += "settle = \"0s\"\nbake = \"0s\"\n"
	}
	d.write("web.toml", text)
}

func (d *supervision) deploy(r release) said {
	d.site.Helper()
	d.release(r)
	if r.broken {
		d.configure("drain-timeoutt = \"15s\"\n")
	}
	attempt := d.Begin("upgrade")
	report, status := attempt.Verdict()
	if r.broken {
		d.configure("")
	}
	s := said{status: status, words: string(report.Verdict)}
	if report.Verdict == upgrade.Committed {
		s.beyond = inSeconds(report.DurationSeconds - report.StartupSeconds)
		return s
	}
	s.words += ": " + report.Reason
	for _, step := range attempt.Steps() {
		if step.Phase == upgrade.PhaseRollback && report.Verdict == upgrade.RolledBack {
			s.resumed = append(s.resumed[:0], inSeconds(report.DurationSeconds-step.ElapsedSeconds))
		}
	}
	return s
}

func inSeconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// settle has nothing to wait for: old generations drain beside the next upgrade.
func (d *supervision) settle() {}

func (d *supervision) end() {
	_, _ = d.Run("stop", "--now") // a version that is stuck by intent would be waited for
	d.Wait()
	if left := d.Left(); len(left) > 0 {
		d.site.Errorf("left behind: %s", strings.Join(left, ", "))
	}
}
