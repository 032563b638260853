package units

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// chatters is a release that says a number on both its streams again and again,
// with its pid.
const chatters = `n=0
while sleep 0.05; do n=$((n+1)); echo "says $$ $n"; echo "complains $$ $n" >&2; done &
exec ` + misbehave

// TestOutputGoesToTheJournalForGood: what generations write arrives there after
// upgrades, and after the supervisor was killed, replaced and started again.
func TestOutputGoesToTheJournalForGood(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s site) {
		s.release(t, chatters)
		upgrade := func() { s.Systemctl(t, "reload", "web.service") }
		crashes := 0
		crash := func() {
			before := s.active(t, s.newest(t))
			s.Kill(t, before.PID, syscall.SIGKILL)
			crashes++
			s.adopted(t, before, crashes)
		}
		reexec := func() { s.reexecute(t) }
		upgrade()
		for _, happens := range []func(){reexec, crash, upgrade, crash, reexec} {
			happens()
			s.chats(t, s.active(t, s.newest(t)).Generations[0].PID)
		}
		s.stop(t, "web.socket")
	})
}

// chats waits for what a generation writes from now on, to each stream.
func (s site) chats(t *testing.T, pid int) {
	t.Helper()
	for _, stream := range []string{"says", "complains"} {
		before := s.lastChat(t, stream, pid)
		s.Await(t, fmt.Sprintf("process %d %s something", pid, stream), patience, func() bool { return s.lastChat(t, stream, pid) > before })
	}
}

// lastChat is the highest number of a stream that is in the journal.
func (s site) lastChat(t *testing.T, stream string, pid int) int {
	t.Helper()
	last, prefix := 0, fmt.Sprintf("%s %d ", stream, pid)
	for line := range strings.Lines(s.Journal(t, "--unit=web.service", "--output=cat", "--lines=200", "_TRANSPORT=stdout")) {
		if number, ok := strings.CutPrefix(strings.TrimSpace(line), prefix); ok {
			n, err := strconv.Atoi(number)
			if err != nil {
				t.Errorf("the journal has %q", line)
			}
			last = max(last, n)
		}
	}
	return last
}
