package systemd

import "testing"

func TestOnlyAStopIsTheEnd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		jobs string
		want bool
	}{
		{"", false},
		{"64 web.service stop running\n", false},
		{"35 web.service restart running\n", true},
		{"70 web.service start waiting\n", true},
		{"35 web.socket restart running\n36 other-web.service start waiting\n64 web.service stop running\n", false},
		{"64 web.service stop running\n65 web.service start waiting\n", true},
		{"No jobs running.\n", false},
	} {
		if got := startsAgain(c.jobs, "web.service"); got != c.want {
			t.Errorf("%q: %v", c.jobs, got)
		}
	}
}

func TestUnitOfAProcess(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ groups, want string }{
		{"0::/system.slice/web.service\n", "web.service"},
		{"1:cpu:/system.slice/other.service\n0::/system.slice/web.service/supervisor\n", "web.service"},
		{"0::/system.slice/system-supervisor.slice/supervisor@web.service/supervisor\n", "supervisor@web.service"},
		{"0::/system.slice/_memory.service\n", "memory.service"},
		{"0::/user.slice/user-1.slice/user@1.service/app.slice/web.service\n", ""},
		{"0::/\n", ""},
		{"", ""},
	} {
		if got, err := unitOf(c.groups); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: %q, %v", c.groups, got, err)
		}
	}
}
