package systemd

import (
	"strings"
	"testing"
	"time"
)

// web is a unit that can be written.
func web() Unit {
	return Unit{
		Name: "web", Command: "/usr/local/bin/supervisor", Run: []string{"--", "/srv/web"}, User: "web",
		Sockets: []Socket{{Name: "http", Listen: "ListenStream", Address: "[::]:80"}},
		Ready:   30 * time.Second, Upgrade: 49 * time.Second, Stop: 40 * time.Second,
	}
}

func serviceOf(t *testing.T, u Unit) string {
	t.Helper()
	files, err := u.Files()
	if err != nil {
		t.Fatal(err)
	}
	return files[len(files)-1].Text
}

func TestTimeoutsAreInStepWithTheSettings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		change func(*Unit)
		want   string
	}{
		{func(*Unit) {}, "\nTimeoutStartSec=59\n"},
		{func(*Unit) {}, "\nTimeoutStopSec=50\n"},
		{func(u *Unit) { u.Ready = 2 * time.Minute }, "\nTimeoutStartSec=130\n"},
		{func(u *Unit) { u.Stop = 1500 * time.Millisecond }, "\nTimeoutStopSec=12\n"},
	} {
		u := web()
		c.change(&u)
		if text := serviceOf(t, u); !strings.Contains(text, c.want) {
			t.Errorf("no %q in\n%s", c.want, text)
		}
	}
}

func TestLinesDependOnWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		change   func(*Unit)
		has, not string
	}{
		{func(*Unit) {}, "Sockets=web.socket\n", "FileDescriptorStoreMax"},
		{func(u *Unit) { u.Sockets = nil }, "FileDescriptorStoreMax=64\n", "Sockets="},
		{func(*Unit) {}, "NonBlocking=yes\n", "FileDescriptorStoreMax"},
		{func(u *Unit) { u.Sockets = nil }, "Type=notify\n", "NonBlocking"},
		{func(u *Unit) { u.Sockets = nil }, "CapabilityBoundingSet=\n", "CAP_NET_BIND_SERVICE"},
		{func(u *Unit) { u.Sockets, u.LowPort = nil, true }, "AmbientCapabilities=CAP_NET_BIND_SERVICE\n", "Also="},
		{func(*Unit) {}, "Delegate=yes\n", "DelegateSubgroup"},
		{func(u *Unit) { u.Version = 254 }, "DelegateSubgroup=supervisor\n", "Type=notify-reload"},
		{func(u *Unit) { u.Version, u.NotifyReload = 253, true }, "Type=notify-reload\n", "ExecReload"},
		{func(*Unit) {}, "AF_UNIX AF_INET AF_INET6 AF_NETLINK\n", "network-online"},
		{func(u *Unit) { u.NoNetwork = true }, "=AF_UNIX AF_NETLINK\n", "AF_INET"},
		{func(u *Unit) { u.Name = "memory" }, "system.slice/_memory.service\n", "web"},
		{func(u *Unit) { u.Run = []string{"--", "/srv/web", "100%", "$HOME"} }, "-- /srv/web 100%% $$HOME\n", "100%\n"},
		{func(u *Unit) { u.Origin = "made\nby x" }, "# made by x\n", "\nby x"},
	} {
		u := web()
		c.change(&u)
		if u.Name != "web" {
			u.User, u.Run = u.Name, []string{"--", "/srv/" + u.Name}
		}
		text := serviceOf(t, u)
		if !strings.Contains(text, c.has) || strings.Contains(text, c.not) {
			t.Errorf("want %q and no %q in\n%s", c.has, c.not, text)
		}
	}
}

func TestSocketUnits(t *testing.T) {
	t.Parallel()
	u := web()
	u.Sockets = append(u.Sockets,
		Socket{Name: "dns", Listen: "ListenDatagram", Address: "127.0.0.1:53"},
		Socket{Name: "admin", Listen: "ListenStream", Address: "/run/100%/a b.sock", Mode: 0o660},
		Socket{Name: "six", Listen: "ListenStream", Address: "[::]:81", V6Only: true, Backlog: 16})
	files, err := u.Files()
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct{ name, has, not string }{
		{"web.socket", "ListenStream=[::]:80\nFileDescriptorName=http\nService=web.service\n", "SocketMode"},
		{"web-dns.socket", "ListenDatagram=127.0.0.1:53\n", "Backlog"},
		{"web-admin.socket", "ListenStream=/run/100%%/a b.sock\n", "BindIPv6Only"},
		{"web-six.socket", "BindIPv6Only=ipv6-only\nBacklog=16\n", "Backlog=65535"},
		{"web.service", "Sockets=web.socket web-dns.socket web-admin.socket web-six.socket\n", "FileDescriptorStoreMax"},
	} {
		if f := files[i]; f.Name != c.name || !strings.Contains(f.Text, c.has) || strings.Contains(f.Text, c.not) {
			t.Errorf("want %s with %q and no %q: %s\n%s", c.name, c.has, c.not, f.Name, f.Text)
		}
	}
	if !strings.Contains(files[2].Text, "SocketUser=web\nSocketMode=0660\nRemoveOnStop=yes\n") {
		t.Error(files[2].Text)
	}
}

func TestUnitsThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		change func(*Unit)
		want   string
	}{
		{func(u *Unit) { u.Name = "a b" }, `"a b": use letters`},
		{func(u *Unit) { u.Name = "a\n[x]" }, "use letters"},
		{func(u *Unit) { u.Command = "supervisor" }, "must begin with a slash"},
		{func(u *Unit) { u.Command = "/a\nb" }, "line break"},
		{func(u *Unit) { u.User = "web\nExecStartPre=x" }, "cannot be the name of a user; give another with --user"},
		{func(u *Unit) { u.User = "" }, "--user"},
		{func(u *Unit) { u.Version = 248 }, "systemd 248 is too old"},
		{func(u *Unit) { u.NotifyReload = true }, "needs systemd 253"},
		{func(u *Unit) { u.Sockets, u.NoNetwork = nil, true }, "leave the listeners to systemd"},
		{func(u *Unit) { u.Run = []string{"a\nb"} }, "line break"},
		{func(u *Unit) { u.Sockets[0].Name = "a/b" }, "cannot be its name"},
		{func(u *Unit) { u.Sockets[0].Address = "" }, "listener http: it has no address"},
		{func(u *Unit) { u.Sockets[0].Address = "/a\nb" }, "control character"},
		{func(u *Unit) { u.Sockets[0].Address = "/a\x01b" }, "control character"},
		{func(u *Unit) { u.Sockets[0].Address = "/a " }, "ends with a space"},
		{func(u *Unit) { u.Sockets[0].Address = `/a\` }, "ends with a backslash"},
		{func(u *Unit) { u.Sockets[0].Address = "/\xff" }, "not UTF-8"},
		{func(u *Unit) { u.Name = strings.Repeat("n", 250) }, "systemd takes 255 at most"},
	} {
		u := web()
		c.change(&u)
		if files, err := u.Files(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want an error with %q: %v\n%v", c.want, err, files)
		}
	}
}
