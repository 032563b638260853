package units

import (
	"os"
	"strings"
	"testing"
)

// TestRebootStartsWhatWasCommitted: after a reboot, of which nothing is left but
// what is on the disk, the last committed release is started, not the one that
// failed, and the history is there.
func TestRebootStartsWhatWasCommitted(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s site) {
		s.active(t, 1)
		s.release(t, "exec "+misbehave+" -version second")
		s.Systemctl(t, "reload", "web.service")
		s.active(t, 2)
		s.release(t, "exec "+misbehave+" -fail 'as asked'")
		if _, err := s.TrySystemctl(t.Context(), "reload", "web.service"); err == nil {
			t.Error("a bad candidate was committed")
		}
		s.active(t, 2)

		s.Systemctl(t, "stop", "web.service", "web.socket")
		if err := os.RemoveAll(s.Path("/run/supervisor")); err != nil {
			t.Fatal(err)
		}
		told := s.history(t) // of a service that does not run
		s.Systemctl(t, "start", "web.socket", "web.service")
		s.active(t, 1)
		if log := s.Journal(t, "--unit=web", "--output=cat"); !strings.Contains(log, "the last committed release is started and not the configured one") {
			t.Errorf("it is not said that another release is started:\n%s", log)
		}
		for _, want := range []string{"start", "upgrade", "aborted", "as asked"} {
			if !strings.Contains(told, want) {
				t.Errorf("the history does not tell of %q:\n%s", want, told)
			}
		}
		if rows := strings.Count(s.history(t), "\n"); rows != strings.Count(told, "\n")+1 {
			t.Errorf("the history has %d lines, and before the reboot:\n%s", rows, told)
		}
		out := run(t, s.Command(t.Context(), supervisor, "rollback", "web"))
		if !strings.Contains(out, "committed: generation 2 is active") {
			t.Errorf("a rollback after the reboot: %s", out)
		}
		s.active(t, 2)
		s.stop(t, "web.socket")
	})
}

// history is what "supervisor history" prints.
func (s site) history(t *testing.T) string {
	t.Helper()
	return run(t, s.Command(t.Context(), supervisor, "history", "web"))
}
