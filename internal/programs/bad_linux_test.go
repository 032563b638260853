package programs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/supervisor/internal/rig"
)

// find is the program of that name.
func find(t *testing.T, name string) program {
	t.Helper()
	all := programs()
	i := slices.IndexFunc(all, func(p program) bool { return p.name == name })
	if i < 0 {
		t.Fatalf("there is no program %s", name)
	}
	return all[i]
}

// TestBadReleasesOfPrograms: a release with a mistake as people make them is
// aborted, and no client notices.
func TestBadReleasesOfPrograms(t *testing.T) {
	t.Parallel()
	binary := rig.Build(t, rig.Command)
	for _, c := range []struct {
		mistake, program string
		flags            []string
		was, is          string // in its file
		reason           string
	}{
		{"a module that is not there", "gunicorn", nil, `"""A WSGI`, `import nosuchmodule; """A WSGI`, "exited with status"},
		{"an address that is not the listener's", "nginx", []string{"--ready", "3s"}, "listen $ADDRESS", "listen $PORT", "exited with status 1"},
		{"a setting that is not known", "HAProxy", []string{"--ready", "1s"}, "mode http", "mode httpp", "exited with status 1"},
		{"an error of syntax", "Node.js http", []string{"--ready", "1s"}, "server.listen", "server listen", "exited with status 1"},
		{"an error of syntax", "Starman", []string{"--ready", "1s"}, "my $env", "your $env", "exited with status"},
		{"an exception at the start", "Python http.server", nil, "listener = ", "listener = 1 / 0\nlistener = ", "exited with status 1"},
	} {
		t.Run(c.program+", "+c.mistake, func(t *testing.T) {
			t.Parallel()
			s := find(t, c.program).prepare(t)
			u := s.supervise(binary, c.flags...)
			run := s.load()
			answered(t, run, 20)
			path := filepath.Join(s.dir, s.file)
			good, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			bad := strings.Replace(string(good), s.expand(c.was), s.expand(c.is), 1)
			if bad == string(good) {
				t.Fatalf("%q is not in %s", c.was, path)
			}
			if err := os.WriteFile(path, []byte(bad), 0o644); err != nil {
				t.Fatal(err)
			}
			if r := u.Upgrade(); r.Verdict != "aborted" || !strings.Contains(r.Reason, c.reason) {
				t.Errorf("%s: %s, want aborted: %s", r.Verdict, r.Reason, c.reason)
			}
			if err := os.WriteFile(path, good, 0o644); err != nil {
				t.Fatal(err)
			}
			answered(t, run, 20)
			if r := run.Stop(); r.Failed > 0 {
				t.Errorf("%d of %d requests failed: %s", r.Failed, r.Requests, failures(r))
			}
			u.Commits()
			u.Stop()
		})
	}
}
