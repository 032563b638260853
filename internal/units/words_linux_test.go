package units

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSystemdIsToldOfEachPhase: the Status line of "systemctl status" says what
// goes on, in the states of the unit that belong to it.
func TestSystemdIsToldOfEachPhase(t *testing.T) {
	eachSite(t, []string{"--bake", "3s", "--drain-timeout", "1m"}, func(t *testing.T, s site) {
		s.active(t, 1)
		if n := s.Show(t, "web.service", "NFileDescriptorStore"); n != "0" {
			t.Errorf("%s descriptors are stored, although a socket unit has the listener", n)
		}
		s.release(t, "exec "+misbehave+" -start-delay 1500ms")
		s.slow(t, time.Minute) // longer than the test
		cmd := s.Command(t.Context(), supervisor, "upgrade", "web")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		const queue = `, queue \d+/\d+$`
		for _, c := range []struct{ state, line string }{
			{"active", `^generation 2 starting, \d+\.\d s left` + queue},
			{"active", `^generation 2 baking, \d+\.\d s left` + queue},
			{"active", `^generation 2 active, generation 1 draining 1 connection, \d+\.\d s left` + queue},
		} {
			s.says(t, c.state, c.line)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("upgrade: %v", err)
		}
		if out := run(t, s.Command(t.Context(), "systemctl", "status", "web.service")); !strings.Contains(out, `Status: "generation 2 active`) {
			t.Errorf("systemctl status says\n%s", out)
		}
		s.Systemctl(t, "stop", "--no-block", "web.service", "web.socket")
		s.says(t, "deactivating", `^stopping: generation 1 draining 1 connection, \d+\.\d s left`)
	})
}

// says waits for a line of the status in a state of the unit.
func (s site) says(t *testing.T, state, line string) {
	t.Helper()
	want := regexp.MustCompile(line)
	var lines []string
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("looking for %s, %s: %q", state, line, lines)
		}
	})
	s.Await(t, state+", "+line, patience, func() bool {
		out := s.Systemctl(t, "show", "--property=ActiveState,StatusText", "web.service")
		if !slices.Contains(lines, out) {
			lines = append(lines, out)
		}
		isState, text := false, ""
		for said := range strings.SplitSeq(out, "\n") {
			isState = isState || said == "ActiveState="+state
			if after, ok := strings.CutPrefix(said, "StatusText="); ok {
				text = after
			}
		}
		return isState && want.MatchString(text)
	})
}

// TestJournalHasFields: a verdict is found by its MESSAGE_ID, and has what it is
// about in fields. The output of generations goes to the same place.
func TestJournalHasFields(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s site) {
		s.Systemctl(t, "reload", "web.service")
		s.release(t, "exec "+misbehave+" -fail 'as asked'")
		if _, err := s.TrySystemctl(t.Context(), "reload", "web.service"); err == nil {
			t.Error("a bad candidate is no error")
		}
		for id, want := range map[string]map[string]string{
			"4233dcde48844f9294ba6517242857d8": {"VERDICT": "committed", "GENERATION": "2", "FROM": "1", "TO": "2", "PRIORITY": "6"},
			"f77fecb2501645519a25f6850486fbee": {"VERDICT": "aborted", "GENERATION": "2", "FROM": "2", "TO": "3", "REASON": "generation 3 says that it failed: as asked"},
		} {
			var entry map[string]any
			line := s.Journal(t, "--unit=web.service", "--output=json", "MESSAGE_ID="+id)
			if err := json.Unmarshal([]byte(line), &entry); err != nil {
				t.Errorf("%s: %q: %v", id, line, err)
				continue
			}
			want["PHASE"], want["SYSLOG_IDENTIFIER"], want["_SYSTEMD_UNIT"] = "verdict", "supervisor", "web.service"
			for name, value := range want {
				if entry[name] != value {
					t.Errorf("%s=%v, want %s", name, entry[name], value)
				}
			}
		}
		if out := s.Journal(t, "--unit=web.service", "--output=cat", "_TRANSPORT=stdout", "SYSLOG_IDENTIFIER=web"); !strings.Contains(out, "INFO draining generation=1") {
			t.Errorf("the generations said\n%s", out)
		}
		s.stop(t, "web.socket")
	})
}

// TestServiceThatCannotStartSaysWhyAsAnError: whoever asks the journal for errors
// is told, and only that.
func TestServiceThatCannotStartSaysWhyAsAnError(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s site) {
		s.WriteUnit(t, "web.service.d/once.conf", "[Service]\nRestart=no\n")
		s.Reload(t)
		s.Systemctl(t, "stop", "web.service")
		s.release(t, "exit 7")
		if _, err := s.TrySystemctl(t.Context(), "start", "web.service"); err == nil {
			t.Error("it starts")
		}
		out := s.Journal(t, "--unit=web.service", "--output=cat", "--priority=err", "_TRANSPORT=stdout")
		if want := "error: cannot run service web: "; !strings.HasPrefix(out, want) {
			t.Errorf("errors in the journal are\n%swant %s", out, want)
		}
	})
}
