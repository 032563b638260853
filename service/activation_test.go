package service

import (
	"strings"
	"testing"

	"example.com/supervisor/internal/listen"
)

func specsOf(t testing.TB, list ...string) []listen.Spec {
	t.Helper()
	specs, err := listen.ParseSpecs(list)
	if err != nil {
		t.Fatal(err)
	}
	return specs
}

// TestPassedSocketsAreMatchedByName, whatever their order; what is left over on
// one side is an error that names it.
func TestPassedSocketsAreMatchedByName(t *testing.T) {
	t.Parallel()
	web, dns := "web=tcp://127.0.0.1:1", "dns=udp://127.0.0.1:1"
	for _, c := range []struct {
		name   string
		specs  []string
		passed []passedSocket
		fds    []int
		want   []string // of the error
	}{
		{"in another order", []string{web, dns}, []passedSocket{{"dns", 3}, {"web", 4}}, []int{4, 3}, nil},
		{"one without a name of its own", []string{web}, []passedSocket{{"site.socket", 3}}, []int{3}, nil},
		{"one without any name", []string{web}, []passedSocket{{"unknown", 3}}, []int{3}, nil},
		{"given by name", []string{"web=systemd"}, []passedSocket{{"web", 3}}, []int{3}, nil},
		{"another name", []string{web}, []passedSocket{{"http", 3}}, nil, []string{`"web" is missing`, `"http" that Config.Listen does not have`}},
		{"two without names", []string{web, dns}, []passedSocket{{"site.socket", 3}, {"site.socket", 4}}, nil, []string{`"web" is missing`, `"dns" is missing`, `"site.socket"`}},
		{"one name twice", []string{web}, []passedSocket{{"web", 3}, {"web", 4}}, nil, []string{`two listeners "web"`, "one .socket unit for each"}},
		{"none", []string{web}, nil, nil, []string{"systemd passed none", "FileDescriptorName=web"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			matched, err := matchPassed(specsOf(t, c.specs...), c.passed)
			if (err != nil) != (c.want != nil) || len(matched) != len(c.fds) {
				t.Fatalf("%v, %v", matched, err)
			}
			for i, m := range matched {
				if m.fd != c.fds[i] || !strings.HasPrefix(c.specs[i], m.name+"=") {
					t.Errorf("%s is %+v", c.specs[i], m)
				}
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v does not say %s", err, want)
				}
			}
		})
	}
}

// FuzzActivation: whatever the environment says, as many sockets come as it
// counts, from 3 on, or none.
func FuzzActivation(f *testing.F) {
	f.Add("12", "2", "a:b")
	f.Add("12", "0", "")
	f.Add("x", "-1", ":")
	f.Add("12", "99999999999999999999", "a")
	f.Fuzz(func(t *testing.T, pid, fds, names string) {
		a := activation{pid, fds, names}
		if a.isFor(12) && strings.Trim(pid, "+0") != "12" {
			t.Errorf("LISTEN_PID=%q is taken for 12", pid)
		}
		all, err := a.sockets()
		if err != nil && all != nil {
			t.Errorf("%v beside %v", all, err)
		}
		for i, p := range all {
			if p.fd != firstPassed+i || strings.Split(names, ":")[i] != p.name {
				t.Errorf("socket %d is %+v", i, p)
			}
		}
	})
}

func TestNotifierJudgesItsVariables(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ address, usec, pid, want string }{
		{"", "rubbish", "", ""},
		{"/run/notify", "", "", ""},
		{"@abstract", "1000000", "7", ""},
		{"/run/notify", "rubbish", "8", ""}, // means another process
		{"notify", "", "", "neither an absolute path nor"},
		{"@", "", "", "neither"},
		{"/run/notify", "0", "", "WatchdogSec="},
		{"/run/notify", "9223372036854775807", "7", "not a number of microseconds"},
	} {
		n, err := notifierOf(c.address, c.usec, c.pid, 7)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %+v, %v", c, n, err)
		}
		if watched := c.usec == "1000000"; watched != (n.watchdog > 0) || err == nil && n.address != c.address {
			t.Errorf("%+v: %+v", c, n)
		}
	}
}
