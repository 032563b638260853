package programs

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"example.com/supervisor/internal/rig"
)

// after finds the commands of docs/migrating.md that run a program below a
// supervisor, each behind the name of the program that a test knows.
var after = regexp.MustCompile(`(?s)<!-- tried: ([^\n]+?) -->\n+` + "```\n" + `(supervisor run .*?)\n(?:supervisor upgrade[^\n]*\n)?` + "```")

// TestMigratingIsTried runs what docs/migrating.md shows, with another address and
// another folder, and upgrades it under load.
func TestMigratingIsTried(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/migrating.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := after.FindAllStringSubmatch(string(text), -1)
	if marks := strings.Count(string(text), "<!-- tried: "); len(shown) < 5 || len(shown) != marks {
		t.Fatalf("docs/migrating.md has %d commands behind %d marks, want the same, and at least 5", len(shown), marks)
	}
	binary := rig.Build(t, rig.Command)
	for _, m := range shown {
		t.Run(m[1], func(t *testing.T) {
			t.Parallel()
			p := find(t, m[1])
			flags, command, ok := strings.Cut(strings.TrimPrefix(strings.ReplaceAll(m[2], "\\\n", " "), "supervisor run "), " -- ")
			if !ok {
				t.Fatalf("%q has no program", m[2])
			}
			inPlace := strings.NewReplacer("127.0.0.1:8080", "$ADDRESS", "/srv/web", "$DIR")
			p.command = strings.Fields(inPlace.Replace(command))
			p.flags = strings.Fields(inPlace.Replace(flags))
			p.verbatim = true
			s := p.prepare(t)
			for i, f := range p.flags {
				s.flags[i] = s.expand(f)
			}
			u := s.supervise(binary)
			run := s.load()
			answered(t, run, 20)
			u.Commits()
			answered(t, run, 20)
			if r := run.Stop(); r.Failed > 0 && p.loses == "" {
				t.Errorf("%d of %d requests failed: %s", r.Failed, r.Requests, failures(r))
			}
			u.Stop()
		})
	}
}
