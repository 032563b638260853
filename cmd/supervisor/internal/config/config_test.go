package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/upgrade"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "rewrite golden files and docs/configuration.md")

// load is Load with flags as they are written on a command line.
func load(file string, flags []string, program ...string) (Config, error) {
	bound := Default()
	fs := pflag.NewFlagSet("run", pflag.ContinueOnError)
	bound.AddFlags(fs)
	if err := fs.Parse(flags); err != nil {
		return Config{}, err
	}
	return Load(file, bound, fs, program)
}

// write makes a file and returns its path.
func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "web.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const minimal = "program = ['sh', '-c', 'exit']\nlisten = ['http=tcp://127.0.0.1:0']\n"

// TestErrorsNameTheirPlace compares what is said about each wrong file with
// testdata/errors.txt, where the files are between the lines of "=".
func TestErrorsNameTheirPlace(t *testing.T) {
	t.Parallel()
	golden := filepath.Join("testdata", "errors.txt")
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	const fence, arrow = "====\n", "---->\n"
	var got strings.Builder
	for _, section := range strings.Split(string(text), fence) {
		doc, _, _ := strings.Cut(section, arrow)
		path := write(t, doc)
		_, err := load(path, nil)
		if err == nil {
			t.Errorf("no error:\n%s", doc)
			continue
		}
		if got.Len() > 0 {
			got.WriteString(fence)
		}
		fmt.Fprintf(&got, "%s%s%s\n", doc, arrow, strings.ReplaceAll(err.Error(), path, "web.toml"))
	}
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if got.String() != string(text) {
		t.Errorf("%s differs (rewrite it with -update); got:\n%s", golden, got.String())
	}
}

func TestFlagsWinOverTheFile(t *testing.T) {
	t.Parallel()
	file := write(t, minimal+`
bake = "1m"
settle = "1s"
env = ["A=1", "B=2"]
probe-failures = 7
env-clear = true
`)
	c, err := load(file, []string{"--bake=2s", "--env=C=3", "--env-clear=false"})
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Program = []string{"sh", "-c", "exit"}
	want.Listen = []string{"http=tcp://127.0.0.1:0"}
	want.Bake, want.Settle = Duration(2*time.Second), Duration(time.Second)
	want.Env, want.ProbeFailures = []string{"C=3"}, 7
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v\nwant %+v", c, want)
	}
	if c, err := load(file, nil, "true", "x"); err != nil || !slices.Equal(c.Program, []string{"true", "x"}) {
		t.Errorf("program %q, error %v; want that of the command line", c.Program, err)
	}
}

func TestDefaultsAreThoseOfThePolicy(t *testing.T) {
	t.Parallel()
	got := Default().Policy()
	want := upgrade.Policy{Bake: 5 * time.Second}.WithDefaults()
	if got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestErrorsOfFlagsNameTheFlag(t *testing.T) {
	t.Parallel()
	file := write(t, minimal+"bake = '1s'\n")
	for flag, want := range map[string]string{
		"--bake=-1s":               "--bake: must not be negative: -1s",
		"--ready-timeout=0s":       "--ready-timeout: must be more than 0: 0s",
		"--max-draining=0":         "--max-draining: must be from 1 to 1000: 0",
		"--probe=healthz":          `--probe: "healthz" is not a path; begin it with a slash as in /healthz`,
		"--probe=/a b":             `--probe: "/a b" contains a space or control character; write it as %20`,
		"--probe-command=/no/such": "--probe-command: cannot be run: ",
		"--metrics=9100":           `--metrics: "9100" is not HOST:PORT, such as 127.0.0.1:9100`,
		"--metrics=:http":          `--metrics: ":http" is not HOST:PORT, such as 127.0.0.1:9100`,
		"--log-format=xml":         `--log-format: "xml" is none of auto, text, json, journal`,
		"--env=A":                  `--env: "A" is not of the form KEY=VALUE`,
		"--env=SUPERVISOR_FD=3":    "--env: SUPERVISOR_FD is set by the supervisor itself; leave it out",
		"--env=LISTEN_FDS=1":       "--env: LISTEN_FDS is set by the supervisor itself; leave it out",
		"--name=.web":              `--name: ".web" cannot be the name of a service`,
		"--name=a/b":               `--name: "a/b" cannot be the name of a service`,
		"--backoff-min=1h":         "--backoff-min: must not be more than backoff-max: 1h0m0s, 30s",
		"--settle=10s":             "--settle: must be less than gate-timeout, or the gate can never open: 10s, 10s",
		"--listen=x":               `--listen: cannot use listener "x": `,
		"--dir=/no/such":           "--dir: stat /no/such: no such file or directory",
	} {
		_, err := load(file, []string{flag})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", flag, err, want)
		}
	}
}

func TestFileThatCannotBeRead(t *testing.T) {
	t.Parallel()
	if _, err := load(filepath.Join(t.TempDir(), "none.toml"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want %v", err, os.ErrNotExist)
	}
}

func TestMetricsAddressIsLocalByDefault(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"": "", ":9100": "127.0.0.1:9100", "0.0.0.0:9100": "0.0.0.0:9100", "[::1]:0": "[::1]:0",
	} {
		if got := (Config{Metrics: given}).MetricsAddress(); got != want {
			t.Errorf("%q: got %q, want %q", given, got, want)
		}
	}
}

// TestSettingsAndFileSayTheSame holds the flags and the keys of the file to
// each other, and what is told of them to what they take.
func TestSettingsAndFileSayTheSame(t *testing.T) {
	t.Parallel()
	bound := Default()
	known := keys()
	delete(known, programKey)
	for _, s := range bound.Settings() {
		if _, ok := known[s.Name]; !ok {
			t.Errorf("flag %s is no key of the file", s.Name)
		}
		delete(known, s.Name)
		// Only the example's type matters here: its values may not exist.
		c := Default()
		if _, err := decode("example", []byte(s.Name+" = "+s.Example+"\n"), &c); err != nil {
			t.Errorf("%s: its example is wrong: %v", s.Name, err)
		}
	}
	if len(known) > 0 {
		t.Errorf("keys of the file without a flag: %v", known)
	}
}

func FuzzFile(f *testing.F) {
	text, err := os.ReadFile(filepath.Join("testdata", "errors.txt"))
	if err != nil {
		f.Fatal(err)
	}
	for _, section := range strings.Split(string(text), "====\n") {
		doc, _, _ := strings.Cut(section, "---->\n")
		f.Add([]byte(doc))
	}
	f.Add([]byte(minimal + "bake = \"\"\"5s\"\"\"\nenv = [ # x\n 'a=b', ]\n"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		c := Default()
		said, err := decode("f", doc, &c)
		if err != nil {
			if said != nil || err.Error() == "" {
				t.Errorf("error %q with places %v", err, said)
			}
			return
		}
		for key, place := range said {
			var file string
			var line, column int
			if n, _ := fmt.Sscanf(strings.ReplaceAll(place, ":", " "), "%s %d %d", &file, &line, &column); n != 3 || line < 1 || column < 1 {
				t.Errorf("%s is at %q", key, place)
			}
		}
	})
}

func FuzzFlags(f *testing.F) {
	f.Add("--bake", "5s", "--listen=a=tcp://:0")
	f.Add("--env-clear", "--probe", "/")
	f.Add("--", "-x", "--name=\x00")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		cfg, err := load("", []string{a, b, c}, "sh")
		if err != nil {
			return
		}
		if len(cfg.Listen) == 0 || CheckName(cfg.ServiceName()) != nil || cfg.Policy().Validate() != nil {
			t.Errorf("%q %q %q: accepted as %+v", a, b, c, cfg)
		}
	})
}

// TestProgramMayBeMissingWhereGenerationsServe: a supervisor that takes over what
// another one left must not end because a release is being replaced.
func TestProgramMayBeMissingWhereGenerationsServe(t *testing.T) {
	t.Parallel()
	c := Default()
	c.Program, c.Dir, c.Listen = []string{"/nonexistent/web"}, "/nonexistent", []string{"http=tcp://127.0.0.1:0"}
	if err := c.Validate(); err == nil {
		t.Error("it may be missing at a first start")
	}
	c.Resumes = true
	if err := c.Validate(); err != nil {
		t.Errorf("it may not be missing: %v", err)
	}
	c.Program = nil
	if err := c.Validate(); err == nil {
		t.Error("none need be given")
	}
}
