package programs

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"example.com/supervisor/internal/load"
	"example.com/supervisor/internal/rig"
)

// A program is one that nobody here wrote, and how it is run.
type program struct {
	name string
	// protocol and flags are those of "supervisor run".
	protocol string
	flags    []string
	// command is the program and its arguments. In these and in its file $DIR is
	// the folder where it runs, $ADDRESS where it listens, $PORT the port of that.
	command []string
	// file is that of testdata which it reads; go is a Go program to be built as
	// $DIR/program, a package or a file below a module: MODULE//FILE.
	file, goes string
	// version is a command that prints it.
	version []string
	// graceful is the signal by which it is told to end and to lose as little as it
	// can.
	graceful syscall.Signal
	// traffic is what it must answer.
	traffic []load.Traffic
	// loses says why some requests may fail when it is stopped by its own means;
	// "" if none may.
	loses string
	// quiet tells that it has no word for being ready.
	quiet bool
	// verbatim tells that flags are all that is to be said of it.
	verbatim bool
}

// arrivals are new connections with one request each, which is echoed.
func arrivals() load.Traffic {
	return load.Traffic{Name: "new", Pattern: load.NewConnection, Rate: 100, Method: http.MethodPost, PayloadBytes: 64, Echo: true}
}

// asking is traffic that gets the same answer each time.
func asking(t load.Traffic, answer string) load.Traffic {
	t.Method, t.PayloadBytes, t.Echo, t.Body = http.MethodGet, 0, false, answer
	return t
}

// kept are requests on connections that are kept.
func kept() load.Traffic {
	return load.Traffic{Name: "kept", Pattern: load.KeepAlive, Clients: 5, Rate: 10, Method: http.MethodPost, PayloadBytes: 64, Echo: true}
}

func programs() []program {
	const systemd = "github.com/coreos/go-systemd/v22"
	return []program{
		{
			// With one process of its own: told to end before all have begun, it waits for
			// the rest in vain (graceful_timeout). Preloaded: it says ready before it has
			// imported the application otherwise.
			name: "gunicorn", protocol: "listen-fds", graceful: syscall.SIGTERM, file: "wsgi_echo.py",
			command: []string{"gunicorn", "--preload", "-w", "1", "--chdir", "$DIR", "--log-level", "warning", "wsgi_echo:app"},
			version: []string{"gunicorn", "--version"}, traffic: []load.Traffic{arrivals()},
		},
		{
			name: "nginx", protocol: "nginx", graceful: syscall.SIGQUIT, file: "nginx.conf", quiet: true,
			command: []string{"nginx", "-p", "$DIR", "-c", "$DIR/nginx.conf"},
			version: []string{"nginx", "-v"},
			traffic: []load.Traffic{asking(arrivals(), "hello\n"), asking(kept(), "hello\n")},
			loses:   "it closes connections on which a request may be on its way",
		},
		{
			name: "HAProxy", protocol: "none", graceful: syscall.SIGUSR1, file: "haproxy.cfg", quiet: true,
			flags:   []string{"--stop-schedule", "USR1"},
			command: []string{"haproxy", "-db", "-f", "$DIR/haproxy.cfg"},
			version: []string{"haproxy", "-v"},
			traffic: []load.Traffic{asking(arrivals(), "hello"), asking(kept(), "hello")},
		},
		{
			name: "Node.js http", protocol: "none", graceful: syscall.SIGTERM, file: "node.js", quiet: true,
			command: []string{"node", "$DIR/node.js"},
			version: []string{"node", "--version"}, traffic: []load.Traffic{arrivals(), kept()},
			loses: "it closes connections on which a request may be on its way",
		},
		{
			name: "Python asyncio", protocol: "listen-fds", graceful: syscall.SIGTERM, file: "asyncio_echo.py",
			command: []string{"python3", "$DIR/asyncio_echo.py"},
			version: []string{"python3", "--version"},
			traffic: []load.Traffic{{Name: "new", Pattern: load.NewConnection, Rate: 100, Raw: true, PayloadBytes: 64}},
		},
		{
			name: "Python http.server", protocol: "listen-fds", graceful: syscall.SIGTERM, file: "http_server.py",
			command: []string{"python3", "$DIR/http_server.py"},
			version: []string{"python3", "--version"}, traffic: []load.Traffic{arrivals()},
		},
		{
			name: "Python einhorn", protocol: "einhorn", graceful: syscall.SIGUSR2, file: "einhorn.py",
			command: []string{"python3", "$DIR/einhorn.py"},
			version: []string{"python3", "--version"}, traffic: []load.Traffic{arrivals()},
		},
		{
			name: "tableflip", protocol: "tableflip", goes: "example.com/supervisor/examples/tableflip",
			command: []string{"$DIR/program", "-listen", "$ADDRESS"},
			version: []string{"go", "list", "-m", "github.com/cloudflare/tableflip"}, traffic: []load.Traffic{arrivals()},
		},
		{
			name: "go-systemd httpserver", protocol: "listen-fds", graceful: syscall.SIGTERM, quiet: true,
			goes:    systemd + "//examples/activation/httpserver/httpserver.go",
			command: []string{"$DIR/program"}, version: []string{"go", "list", "-m", systemd},
			traffic: []load.Traffic{asking(arrivals(), "hello socket activated world!\n")},
			loses:   "it knows no end but being killed by SIGTERM",
		},
		{
			name: "Starman", protocol: "server-starter", graceful: syscall.SIGQUIT, file: "starman.psgi", quiet: true,
			flags:   []string{"--stop-schedule", "QUIT"},
			command: []string{"starman", "--preload-app", "--disable-keepalive", "--min-servers=2", "--max-servers=2", "--min-spare-servers=1", "--max-spare-servers=1", "$DIR/starman.psgi"},
			version: []string{"starman", "--version"}, traffic: []load.Traffic{arrivals()},
			loses: "one of its processes that has accepted a connection and not noticed yet exits on the signal",
		},
	}
}

// required is the variable with which a program that is missing fails a test.
const required = "REQUIRE_PROGRAMS"

// look skips the test if the program is not installed.
func (p program) look(t *testing.T) {
	t.Helper()
	if p.goes != "" {
		return
	}
	_, err := exec.LookPath(p.command[0])
	switch {
	case err == nil:
	case os.Getenv(required) != "" && p.command[0] != "node": // of which Debian has none that is small
		t.Fatalf("%s=%s, but %v", required, os.Getenv(required), err)
	default:
		t.Skipf("%s is not installed (%v); as root on Debian, .ci/run installs it", p.name, err)
	}
}

// A site is a program in a folder of its own, with an address.
type site struct {
	testing.TB
	program
	dir     string
	address string
}

// prepare makes a site.
func (p program) prepare(t *testing.T) *site {
	t.Helper()
	p.look(t)
	s := &site{TB: t, program: p, dir: rig.Folder(t), address: rig.FreeAddress(t)}
	if p.file != "" {
		s.install()
	}
	if p.goes != "" {
		s.build(t)
	}
	return s
}

func (s *site) install() {
	s.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", s.file))
	if err == nil {
		err = os.WriteFile(filepath.Join(s.dir, s.file), []byte(s.expand(string(text))), 0o644)
	}
	if err != nil {
		s.Fatal(err)
	}
}

func (s *site) build(t *testing.T) {
	t.Helper()
	what := s.goes
	if module, file, ok := strings.Cut(what, "//"); ok {
		dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
		if err != nil {
			t.Fatalf("cannot find module %s: %v", module, err)
		}
		what = filepath.Join(strings.TrimSpace(string(dir)), file)
	}
	if out, err := exec.Command("go", "build", "-o", filepath.Join(s.dir, "program"), what).CombinedOutput(); err != nil {
		t.Fatalf("cannot build %s: %v\n%s", what, err, out)
	}
}

func (s *site) expand(text string) string {
	_, port, _ := strings.Cut(s.address, ":")
	return strings.NewReplacer("$DIR", s.dir, "$ADDRESS", s.address, "$PORT", port).Replace(text)
}

// words is the program's command.
func (s *site) words() []string {
	var all []string
	for _, w := range s.command {
		all = append(all, s.expand(w))
	}
	return all
}
