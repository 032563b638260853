package systemd

import (
	"slices"
	"strings"
	"testing"
)

func TestMatchGoesByName(t *testing.T) {
	t.Parallel()
	units := []Descriptor{{"dns", 3}, {"http", 4}, {"admin", 5}}
	got, err := Match(units, []string{"http", "admin", "dns"})
	if want := []Descriptor{{"http", 4}, {"admin", 5}, {"dns", 3}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := Match(nil, nil); got != nil || err != nil {
		t.Errorf("nothing: %v, %v", got, err)
	}
}

func TestMatchNamesTheLineToMend(t *testing.T) {
	t.Parallel()
	units := []Descriptor{{"dns", 3}, {"htpp", 4}}
	for _, c := range []struct {
		units []Descriptor
		want  []string
		texts []string
	}{
		{units, []string{"dns", "http"}, []string{
			`"http" is missing (systemd passed "dns", "htpp")`, "FileDescriptorName=http", "Sockets=",
			`"htpp" that nobody asked for: say --listen htpp=systemd`,
		}},
		{units, []string{"htpp"}, []string{`"dns" that nobody asked for`, "Sockets="}},
		{nil, []string{"http"}, []string{`"http" is missing (systemd passed none)`}},
		{units, []string{"dns", "htpp", "dns"}, []string{`"dns" is asked for twice`}},
	} {
		got, err := Match(c.units, c.want)
		wantText(t, err, c.texts...)
		if got != nil {
			t.Errorf("matched %v in spite of %v", got, err)
		}
	}
}

func TestStoreNameIsNoUnitName(t *testing.T) {
	t.Parallel()
	if name := StoreName("http"); name != "supervisor.listener.http" {
		t.Error(name)
	}
	for stored, want := range map[string]string{
		StoreName("http"): "http", StoreName(StoreName("a")): StoreName("a"),
		"": "", "http": "", "stored": "", "supervisor.socket": "", "supervisor.listener.": "",
	} {
		got, ok := ListenerOf(stored)
		if got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", stored, got, ok)
		}
	}
}

// FuzzEnvironment holds that what is accepted makes sense, and that what is
// refused is no reason to close more than was spoken of.
func FuzzEnvironment(f *testing.F) {
	for _, seed := range [][3]string{
		{"", "", ""}, {"7", "1", "http"}, {"7", "2", "http:dns"}, {"7", "2", "http:http"}, {"8", "1", "http"}, {"7", "-1", ""}, {"7", "1", ""},
		{"7", "3", "supervisor.listener.a:stored:unknown"}, {"7", "99999999999999999999", ":"}, {"+7", "1", "a"}, {"7", "1_0", "a"}, {"7", "2", "::"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, pid, fds, names string) {
		e := environment{pid, fds, names}
		all, err := e.descriptors(7)
		if n := e.atMost(); n < len(all) || n > maxDescriptors {
			t.Errorf("at most %d of %d", n, len(all))
		}
		if err != nil {
			if all != nil || err.Error() == "" {
				t.Errorf("%v beside %v", all, err)
			}
			return
		}
		i, err := sortOut(all)
		if err != nil {
			return
		}
		if len(i.Units)+len(i.Stored) != len(all) {
			t.Errorf("%v of %v", i, all)
		}
		checkUnits(t, i.Units, len(all))
	})
}

func checkUnits(t *testing.T, units []Descriptor, n int) {
	t.Helper()
	seen := map[string]bool{}
	for _, d := range units {
		if seen[d.Name] || d.Name == "" || len(d.Name) > maxName || strings.ContainsAny(d.Name, " :\n\x00") {
			t.Errorf("accepted the name %q", d.Name)
		}
		if d.FD < firstFD || d.FD >= firstFD+n {
			t.Errorf("accepted descriptor %d of %d", d.FD, n)
		}
		seen[d.Name] = true
	}
}
