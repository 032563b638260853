package protocol

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/fdpass"
)

func TestEveryProtocolIsFound(t *testing.T) {
	t.Parallel()
	for _, p := range All() {
		got, err := Parse(string(p.Name))
		if err != nil || got.Name != p.Name {
			t.Errorf("Parse(%q) is %q, %v", p.Name, got.Name, err)
		}
		if p.Hands == "" || p.Readies == "" || p.Because == "" || len(p.Stop) == 0 {
			t.Errorf("%s: %+v", p.Name, p)
		}
	}
	if p, err := Parse(""); err != nil || p.Name != Native {
		t.Errorf("none is %q, %v", p.Name, err)
	}
	if _, err := Parse("systemd"); err == nil || !strings.Contains(err.Error(), "listen-fds") {
		t.Errorf("the error is %v", err)
	}
}

var update = flag.Bool("update", false, "write the table of docs/protocols.md")

// TestTableOfTheDocuments: docs/protocols.md has each protocol as it is.
func TestTableOfTheDocuments(t *testing.T) {
	t.Parallel()
	const name, begin, end = "../../../../docs/protocols.md", "<!-- made by: go test ./cmd/supervisor/internal/protocol -update -->\n", "<!-- end -->"
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	was, after, found := strings.Cut(rest, end)
	if !ok || !found {
		t.Fatalf("%s has no place for the table", name)
	}
	var b strings.Builder
	b.WriteString("\n| `--protocol` | listeners arrive | ready by | told to end by | pauses | its connections are known | blocking |\n|---|---|---|---|---|---|---|\n")
	for _, p := range All() {
		can, known, blocks, stop := "no", "open ones: counted from outside", "no", "`"+p.Stop.String()+"`"
		if p.Pauses && p.Reports {
			can, known, stop = "yes", "it tells of all", "a message"
		}
		if p.Blocking {
			blocks = "yes"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s: %s |\n", p.Name, p.Hands, p.Readies, stop, can, known, blocks, p.Because)
	}
	b.WriteString("\n")
	if was == b.String() {
		return
	}
	if !*update {
		t.Fatal("the table of docs/protocols.md is not what the protocols are; write it with -update")
	}
	if err := os.WriteFile(name, []byte(before+begin+b.String()+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func listeners() []fdpass.Listener {
	return []fdpass.Listener{
		{Name: "http", Network: "tcp4", Address: "127.0.0.1:8080"},
		{Name: "admin", Network: "unix", Address: "/run/web/admin.sock"},
		{Name: "all", Network: "tcp6", Address: "[::]:9090"},
	}
}

func TestEnvironments(t *testing.T) {
	t.Parallel()
	f := Facts{Listeners: listeners(), Generation: 7, PID: "42", Parent: 41, Notify: "/run/web/n"}
	for name, want := range map[Name][]string{
		Native:        nil,
		None:          nil,
		ListenFDs:     {"LISTEN_FDS=3", "LISTEN_PID=42", "LISTEN_FDNAMES=http:admin:all", "NOTIFY_SOCKET=/run/web/n"},
		Tableflip:     {"TABLEFLIP_HAS_PARENT_7DIU3=yes"},
		Einhorn:       {"EINHORN_FD_COUNT=3", "EINHORN_MASTER_PID=41", "EINHORN_FD_0=3", "EINHORN_FD_1=4", "EINHORN_FD_2=5", "EINHORN_SOCK_PATH=/run/web/n"},
		ServerStarter: {"SERVER_STARTER_PORT=127.0.0.1:8080=3;/run/web/admin.sock=4;[::]:9090=5", "SERVER_STARTER_GENERATION=7"},
		Nginx:         {"NGINX=3;4;5;"},
	} {
		got := name.Env(f)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		for _, e := range got {
			key, _, _ := strings.Cut(e, "=")
			if !IsVariable(key) {
				t.Errorf("%s is not among the variables", key)
			}
		}
	}
	f.Notify = ""
	for _, name := range []Name{ListenFDs, Einhorn} {
		for _, e := range name.Env(f) {
			if strings.Contains(e, "SOCK") {
				t.Errorf("%s: %s without a socket", name, e)
			}
		}
	}
}

func TestAliases(t *testing.T) {
	t.Parallel()
	got := Aliases(listeners(), []string{"127.0.0.1:8080", "/run/web/admin.sock", ":9090"})
	want := []Alias{
		{0, [3]string{"listener", "tcp", "127.0.0.1:8080"}},
		{0, [3]string{"listener", "tcp4", "127.0.0.1:8080"}},
		{1, [3]string{"listener", "unix", "/run/web/admin.sock"}},
		{2, [3]string{"listener", "tcp", ":9090"}},
		{2, [3]string{"listener", "tcp", "[::]:9090"}},
		{2, [3]string{"listener", "tcp6", ":9090"}},
		{2, [3]string{"listener", "tcp6", "[::]:9090"}},
		{0, [3]string{"listener", "tcp", "localhost:8080"}},
		{0, [3]string{"listener", "tcp4", "localhost:8080"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the aliases are %v", got)
	}
	// What one is called for certain is no guess at another.
	both := []fdpass.Listener{{Network: "tcp4", Address: "0.0.0.0:80"}, {Network: "tcp6", Address: "[::]:80"}}
	for _, a := range Aliases(both, []string{"0.0.0.0:80", ":80"}) {
		if a.Name == [3]string{"listener", "tcp", ":80"} && a.Listener != 1 {
			t.Errorf("%v", a)
		}
	}
	udp := Aliases([]fdpass.Listener{{Network: "udp4", Address: "127.0.0.1:53"}}, []string{"127.0.0.1:53"})
	if udp[0].Name[0] != "packet" {
		t.Errorf("%v", udp)
	}
}

func TestSchedules(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Schedule{
		"TERM":                {{Signal: syscall.SIGTERM}},
		"sigquit":             {{Signal: syscall.SIGQUIT}},
		"QUIT/20s/TERM":       {{syscall.SIGQUIT, 20 * time.Second}, {Signal: syscall.SIGTERM}},
		"USR2/90/TERM/5/KILL": {{syscall.SIGUSR2, 90 * time.Second}, {syscall.SIGTERM, 5 * time.Second}, {Signal: syscall.SIGKILL}},
	} {
		got, err := ParseSchedule(text)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q is %v, %v", text, got, err)
		}
		again, err := ParseSchedule(got.String())
		if err != nil || !slices.Equal(again, got) {
			t.Errorf("%q was written as %q, which is %v, %v", text, got, again, err)
		}
	}
	if s, err := ParseSchedule("QUIT/20s/TERM/5s/KILL"); err != nil || s.Total() != 25*time.Second {
		t.Errorf("%v, %v", s.Total(), err)
	}
	for text, word := range map[string]string{
		"":                                      "a signal is missing",
		"/5s":                                   "a signal is missing",
		"HANGUP":                                "is no signal",
		"15":                                    "is no signal",
		"STOP":                                  "does not end",
		"TERM/5s":                               "drain-timeout",
		"TERM/KILL":                             "drain-timeout",
		"TERM/soon/KILL":                        "no time",
		"TERM/0s/KILL":                          "not possible",
		"TERM/-5s/KILL":                         "not possible",
		"TERM/99999999999h/KILL":                "no time",
		"TERM/25h/KILL":                         "not possible",
		strings.Repeat("TERM/1s/", 40) + "KILL": "too many",
	} {
		if s, err := ParseSchedule(text); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%q is %v, %v", text, s, err)
		}
	}
}

func FuzzParseSchedule(f *testing.F) {
	f.Add("QUIT/20s/TERM/5s/KILL")
	f.Add("TERM/5/KILL")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSchedule(text)
		if err != nil {
			return
		}
		again, err := ParseSchedule(s.String())
		if err != nil || !slices.Equal(again, s) {
			t.Errorf("%q is %v, written as %q: %v, %v", text, s, s, again, err)
		}
	})
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	fds, _ := Parse("listen-fds")
	none, _ := Parse("none")
	for _, c := range []struct {
		p    Protocol
		text string
		want Readiness
		word string
	}{
		{fds, "", Readiness{By: Word}, ""},
		{fds, "word", Readiness{By: Word}, ""},
		{fds, "probe", Readiness{By: Probe}, ""},
		{none, "", Readiness{Time, time.Second}, ""},
		{none, "0s", Readiness{Time, 0}, ""},
		{fds, "250ms", Readiness{Time, 250 * time.Millisecond}, ""},
		{none, "word", Readiness{}, "no word"},
		{none, "soon", Readiness{}, "no way"},
		{none, "-1s", Readiness{}, "no way"},
	} {
		got, err := c.p.ParseReadiness(c.text)
		if got != c.want || (err == nil) != (c.word == "") || err != nil && !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s, %q: %v, %v", c.p.Name, c.text, got, err)
		}
		if err == nil {
			if again, err := c.p.ParseReadiness(got.String()); err != nil || again != got {
				t.Errorf("%v is written as %q: %v, %v", got, got, again, err)
			}
		}
	}
}

// TestNginxHasTimeToGiveUp: one that cannot open what it has not inherited lives
// for two and a half seconds all the same, and must not be taken for ready.
func TestNginxHasTimeToGiveUp(t *testing.T) {
	t.Parallel()
	p, err := Parse("nginx")
	if err != nil || p.Ready.By != Time || p.Ready.After <= 5*500*time.Millisecond {
		t.Errorf("an nginx is ready by %v (%v)", p.Ready, err)
	}
}
