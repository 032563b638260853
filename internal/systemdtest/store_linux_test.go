package systemdtest

import (
	"os"
	"strconv"
	"testing"
)

func TestMirrorIsTheMachines(t *testing.T) {
	t.Parallel()
	const list = "'http://deb.debian.org/debian/dists/bookworm/InRelease' deb.debian.org_InRelease 0 \n"
	tests := map[string]string{
		list: "http://deb.debian.org/debian",
		"'http://deb.debian.org/debian-security/dists/bookworm-security/InRelease' x 0\n" + list: "http://deb.debian.org/debian",
		"'https://packages.example.com/apt/dists/cloud/InRelease' x 0\n" + list:                  "http://deb.debian.org/debian",
		"'https://mirror.example.com/debian/packages/dists/sid/InRelease' x 0\n":                 "https://mirror.example.com/debian/packages",
		"'http://archive.ubuntu.com/ubuntu/dists/noble/InRelease' x 0\n":                         "",
		"'http://deb.debian.org/debian-security/dists/bookworm-security/InRelease' x 0\n":        "",
		"'cdrom://[Debian GNU/Linux 12 _Bookworm_ debian]/dists/bookworm/InRelease' cdrom 0\n":   "",
		"": "",
	}
	for addresses, want := range tests {
		got, err := mirrorOf(addresses)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("mirrorOf(%q) = %q, %v; want %q", addresses, got, err, want)
		}
	}
}

func TestStoreIsSeenByUnits(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]bool{
		"/var/lib/x": true, "/srv": true, "/runs": true, "/rootless/x": true,
		"/tmp": false, "/tmp/x": false, "/var/tmp/x": false, "/home/me/x": false, "/root": false, "/run/x": false,
		"/var/../tmp/x": false, "relative": false, "": false,
	} {
		if err := (store{path: path}).visible(); (err == nil) != want {
			t.Errorf("store in %q: %v", path, err)
		}
	}
}

func TestOwnerOfARun(t *testing.T) {
	t.Parallel()
	start, err := startTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	own := store{owner: "1.2"}.session()
	if own != "1.2.session" || alive(own) {
		t.Errorf("a run of PID 1 of another boot, %s, is taken for one of now", own)
	}
	for name, want := range map[string]bool{
		strconv.Itoa(os.Getpid()) + "." + start + ".1":       true,
		strconv.Itoa(os.Getpid()) + "." + start + ".session": true,
		strconv.Itoa(os.Getpid()) + ".0.1":                   false,
		"0.0.1":                                              false, "x": false, "": false, "x.y.z": false,
	} {
		if alive(name) != want {
			t.Errorf("alive(%q) = %t", name, !want)
		}
	}
}

func TestSuites(t *testing.T) {
	t.Parallel()
	for _, suite := range []string{"", "../x", "trixie=1", "Trixie"} {
		if able(suite) == nil {
			t.Errorf("suite %q is taken", suite)
		}
	}
}
