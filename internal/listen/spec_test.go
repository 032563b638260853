package listen

import (
	"strings"
	"testing"
)

func TestParseSpec(t *testing.T) {
	t.Parallel()
	rows := map[string]Spec{
		"http=tcp://127.0.0.1:8080":              {Name: "http", Network: "tcp", Address: "127.0.0.1:8080"},
		"http=tcp://127.0.0.1:0?backlog=1024":    {Name: "http", Network: "tcp", Address: "127.0.0.1:0", Backlog: 1024},
		"all=tcp://:80":                          {Name: "all", Network: "tcp", Address: ":80"},
		"v4=tcp4://0.0.0.0:80":                   {Name: "v4", Network: "tcp4", Address: "0.0.0.0:80"},
		"v6=tcp6://[::1]:80":                     {Name: "v6", Network: "tcp6", Address: "[::1]:80"},
		"zone=tcp6://[fe80::1%eth0]:80":          {Name: "zone", Network: "tcp6", Address: "[fe80::1%eth0]:80"},
		"name=tcp://localhost:80":                {Name: "name", Network: "tcp", Address: "localhost:80"},
		"dns=udp://127.0.0.1:53":                 {Name: "dns", Network: "udp", Address: "127.0.0.1:53"},
		"dns.6_a-b=udp6://[::]:53":               {Name: "dns.6_a-b", Network: "udp6", Address: "[::]:53"},
		"s=unix:///run/x.sock":                   {Name: "s", Network: "unix", Address: "/run/x.sock"},
		"s=unix:///run/x.sock?mode=0660":         {Name: "s", Network: "unix", Address: "/run/x.sock", Mode: 0o660},
		"s=unix:///run/x?mode=600&backlog=5":     {Name: "s", Network: "unix", Address: "/run/x", Mode: 0o600, Backlog: 5},
		"s=unix:///run/a%3Fb%25c":                {Name: "s", Network: "unix", Address: "/run/a?b%c"},
		"s=unix:///run/a=b&c":                    {Name: "s", Network: "unix", Address: "/run/a=b&c"},
		"s=unix://@abstract":                     {Name: "s", Network: "unix", Address: "@abstract"},
		"s=unixpacket:///run/p":                  {Name: "s", Network: "unixpacket", Address: "/run/p"},
		"s=unixgram:///run/g?mode=0777":          {Name: "s", Network: "unixgram", Address: "/run/g", Mode: 0o777},
		"s=unix:///" + strings.Repeat("x", 106):  {Name: "s", Network: "unix", Address: "/" + strings.Repeat("x", 106)},
		"s=unix://@" + strings.Repeat("x", 107):  {Name: "s", Network: "unix", Address: "@" + strings.Repeat("x", 107)},
		strings.Repeat("n", 255) + "=tcp://:1":   {Name: strings.Repeat("n", 255), Network: "tcp", Address: ":1"},
		"big=tcp://127.0.0.1:1?backlog=70000":    {Name: "big", Network: "tcp", Address: "127.0.0.1:1", Backlog: 70000},
		"mapped=tcp4://[::ffff:127.0.0.1]:65535": {Name: "mapped", Network: "tcp4", Address: "[::ffff:127.0.0.1]:65535"},
	}
	for text, want := range rows {
		got, err := ParseSpec(text)
		if err != nil || got != want {
			t.Errorf("ParseSpec(%q) = %+v, %v; want %+v", text, got, err, want)
		}
		if again, err := ParseSpec(got.String()); err != nil || again != want {
			t.Errorf("%q became %q and is read as %+v, %v", text, got.String(), again, err)
		}
	}
}

// TestParseSpecRefuses checks that each mistake is refused, and that the
// message has the words that tell the user which mistake it was.
func TestParseSpecRefuses(t *testing.T) {
	t.Parallel()
	rows := map[string]string{
		"":                                      "no name",
		"tcp://127.0.0.1:80":                    "no name",
		"tcp://127.0.0.1:80?backlog=1":          "no name",
		"http=127.0.0.1:80":                     "no network",
		"=tcp://:80":                            "name is empty",
		"a b=tcp://:80":                         "other than letters",
		"a:b=tcp://:80":                         "other than letters",
		strings.Repeat("n", 256) + "=tcp://:":   "256 bytes",
		"a=sctp://:80":                          `unknown network "sctp"`,
		"a=TCP://:80":                           "unknown network",
		"a=tcp://127.0.0.1":                     "HOST:PORT",
		"a=tcp://::1:80":                        "HOST:PORT",
		"a=tcp://127.0.0.1:http":                "not a number from 0 to 65535",
		"a=tcp://127.0.0.1:65536":               "not a number from 0 to 65535",
		"a=tcp://127.0.0.1:080":                 "not a number from 0 to 65535",
		"a=tcp://127.0.0.1:-1":                  "not a number from 0 to 65535",
		"a=tcp://:80/path":                      "not a number from 0 to 65535",
		"a=tcp://ho st:80":                      "not a host name",
		"a=tcp4://[::1]:80":                     "does not belong to network tcp4",
		"a=tcp6://127.0.0.1:80":                 "does not belong to network tcp6",
		"a=tcp://:80?backlog=0":                 "backlog",
		"a=tcp://:80?backlog=-1":                "backlog",
		"a=tcp://:80?backlog=2147483648":        "backlog",
		"a=tcp://:80?backlog=many":              "backlog",
		"a=tcp://:80?backlog=1&backlog=2":       "given 2 times",
		"a=tcp://:80?reuseport=1":               `unknown option "reuseport"`,
		"a=tcp://:80?Backlog=1":                 `unknown option "Backlog"`,
		"a=tcp://:80?mode=0660":                 "mode applies only",
		"a=udp://:80?backlog=5":                 "no backlog",
		"a=unixgram:///run/x?backlog=5":         "no backlog",
		"a=unix://@x?mode=0660":                 "mode applies only",
		"a=unix:///run/x?mode=0":                "not an octal number",
		"a=unix:///run/x?mode=0888":             "not an octal number",
		"a=unix:///run/x?mode=01777":            "not an octal number",
		"a=unix:///run/x?mode=rw":               "not an octal number",
		"a=unix:///run/x?mode=%zz":              "options",
		"a=unix://":                             "path is empty",
		"a=unix://@":                            "abstract name is empty",
		"a=unix://run/x":                        "three slashes",
		"a=unix:///run/":                        "names a directory",
		"a=unix:///run/%00":                     "NUL",
		"a=unix:///run/100%":                    "%25",
		"a=unix:///" + strings.Repeat("x", 107): "108 bytes long",
		"a=unix://@" + strings.Repeat("x", 108): "108 bytes long",
	}
	for text, want := range rows {
		_, err := ParseSpec(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseSpec(%q) = %v; want an error with %q", text, err, want)
		}
	}
}

func TestParseSpecsRefusesTheSameTwice(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name string
		list []string
		want string // empty: accepted
	}{
		{"names", []string{"a=tcp://:80", "a=tcp://:81"}, "name \"a\" twice"},
		{"address", []string{"a=tcp://127.0.0.1:80", "b=tcp://127.0.0.1:80"}, `both listeners "a" and "b"`},
		{"address by another network", []string{"a=tcp://127.0.0.1:80", "b=tcp4://127.0.0.1:80"}, "both listeners"},
		{"address spelt differently", []string{"a=tcp6://[::1]:80", "b=tcp6://[0:0::1]:80"}, "both listeners"},
		{"path", []string{"a=unix:///run/x", "b=unixgram:///run/../run/x"}, "both listeners"},
		{"abstract", []string{"a=unix://@x", "b=unix://@x"}, "both listeners"},
		{"abstract of other types", []string{"a=unix://@x", "b=unixgram://@x"}, ""},
		{"any port", []string{"a=tcp://127.0.0.1:0", "b=tcp://127.0.0.1:0"}, ""},
		{"tcp and udp", []string{"a=tcp://127.0.0.1:80", "b=udp://127.0.0.1:80"}, ""},
		{"families", []string{"a=tcp4://:80", "b=tcp6://:80"}, ""},
		{"a bad one", []string{"a=tcp://127.0.0.1:80", "b"}, `"b"`},
		{"none", nil, ""},
	}
	for _, row := range rows {
		specs, err := ParseSpecs(row.list)
		if row.want == "" && (err != nil || len(specs) != len(row.list)) {
			t.Errorf("%s: %v, %v", row.name, specs, err)
		}
		if row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: %v; want an error with %q", row.name, err, row.want)
		}
	}
}

func FuzzParseSpec(f *testing.F) {
	for _, s := range []string{
		"http=tcp://127.0.0.1:8080?backlog=1024", "s=unix:///run/x.sock?mode=0660&backlog=3",
		"a=unix://@x%25y", "b=unixgram:///a%3Fb", "c=udp6://[::1%25lo]:53", "d=tcp://:1?", "=", "a=unix:///%0a",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		spec, err := ParseSpec(text)
		if err != nil {
			if spec != (Spec{}) {
				t.Fatalf("ParseSpec(%q) gave %+v with an error", text, spec)
			}
			return
		}
		again, err := ParseSpec(spec.String())
		if err != nil || again != spec {
			t.Fatalf("%q is %+v, written %q, read %+v, %v", text, spec, spec.String(), again, err)
		}
		if err := checkDistinct([]Spec{spec, spec}); err == nil {
			t.Fatalf("%q may be used twice", text)
		}
	})
}
