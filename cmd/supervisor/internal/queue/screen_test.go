package queue

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func TestScreenDrawsInPlace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		color         bool
		width, height int
		want          string
	}{
		{false, 40, 8, home + eraseLine + "service web, 12:00:00.250\r\n" + eraseLine + "old\r\n" + eraseLine + "no listeners\r\n" + eraseBelow},
		{true, 40, 3, home + eraseLine + "\x1b[1mservice web, 12:00:00.250\x1b[0m\r\n" + eraseLine + "\x1b[1;31mold\x1b[0m\r\n" + eraseLine + "no listeners"},
		{false, 9, 2, home + eraseLine + "service w\r\n" + eraseLine + "... 2 lin"},
	} {
		var out bytes.Buffer
		s := &Screen{out: &out, size: func() (int, int) { return c.width, c.height }, color: c.color}
		s.Show(Snapshot{Service: "web", Time: noon}, nil, "old")
		if out.String() != c.want {
			t.Errorf("%dx%d:\ngot  %q\nwant %q", c.width, c.height, out.String(), c.want)
		}
	}
}

func TestScreenGivesBackWhatItTook(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := &Screen{out: &out}
	s.Enter()
	s.Leave()
	for _, mode := range []string{"1049", "25", "7"} {
		set, reset := strings.LastIndex(out.String(), "\x1b[?"+mode+"h"), strings.LastIndex(out.String(), "\x1b[?"+mode+"l")
		if used := mode == "1049"; (set > reset) == used {
			t.Errorf("mode %s is left as it should not be: %q", mode, out.String())
		}
	}
}

func TestScreenNeedsATerminal(t *testing.T) {
	t.Parallel()
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, terminal := range []string{"xterm", "dumb", ""} {
		getenv := func(string) string { return terminal }
		if NewScreen(file, getenv) != nil || NewScreen(new(bytes.Buffer), getenv) != nil {
			t.Errorf("TERM=%s: a screen without a terminal", terminal)
		}
	}
}

func TestLocale(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"": false, "LANG=C": false, "LANG=C.UTF-8": true, "LANG=de_DE.utf8": true,
		"LC_ALL=C LANG=en_US.UTF-8": false, "LC_CTYPE=en_US.UTF-8 LANG=C": true, "LC_ALL= LANG=C.UTF-8": true,
	} {
		env := map[string]string{}
		for word := range strings.FieldsSeq(text) {
			name, value, _ := strings.Cut(word, "=")
			env[name] = value
		}
		if got := isUTF8(func(name string) string { return env[name] }); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
