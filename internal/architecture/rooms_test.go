package architecture

// A room is what one package, or every package of a folder, may import.
type room struct {
	// path is the folder below the module's root; "x/*" stands for the
	// folders right below x that have no room of their own.
	path string
	// ours are the folders of this module that it may import.
	ours []string
	// others are the modules besides the standard library.
	others []string
	// only says in which files of the room alone something may be imported.
	only map[string][]string
	// files are those whose imports are listed in full, the standard library
	// included.
	files map[string][]string
}

const (
	sys        = "golang.org/x/sys"
	term       = "golang.org/x/term"
	xsync      = "golang.org/x/sync"
	xnet       = "golang.org/x/net"
	cobra      = "github.com/spf13/cobra"
	pflag      = "github.com/spf13/pflag"
	toml       = "github.com/pelletier/go-toml/v2"
	netlink    = "github.com/mdlayher/netlink"
	gosystemd  = "github.com/coreos/go-systemd/v22"
	prometheus = "github.com/prometheus/client_golang"
	histogram  = "github.com/HdrHistogram/hdrhistogram-go"
	plot       = "gonum.org/v1/plot"
	tableflip  = "github.com/cloudflare/tableflip"
	grpc       = "google.golang.org/grpc"
	protobuf   = "google.golang.org/protobuf"
)

// pure is all that the deciding files of upgrade may know: no clock to ask, no
// context, no logger, no I/O.
var pure = []string{"errors", "fmt", "slices", "time"}

// judging are the files of health that decide by what was observed. They know
// as little, and some mathematics.
var judging = allOf(
	[]string{"bake.go", "bar.go", "drops.go", "finding.go", "gate.go", "growth.go", "pacer.go", "progress.go", "quantile.go", "queue.go", "rate.go", "recent.go", "standing.go"},
	append([]string{"cmp", "math", "strings"}, pure...),
)

// allOf lists the imports of several files that may import the same.
func allOf(files, imports []string) map[string][]string {
	all := map[string][]string{}
	for _, f := range files {
		all[f] = imports
	}
	return all
}

// rooms are all packages of this module. docs/design.md draws the arrows.
var rooms = []room{
	{
		path: "upgrade", // decides; knows neither health nor systemd nor metrics
		ours: []string{"fdpass"}, others: []string{sys},
		only:  map[string][]string{"fdpass": {"process_linux.go", "adoption_linux.go", "conversation_linux.go", "figures_linux.go", "launcher_linux.go", "rendezvous_linux.go", "rejoin_linux.go", "gather_linux.go"}},
		files: allOf([]string{"check.go", "dryrun.go", "hookstep.go", "machine.go", "recovery.go", "restore.go", "slots.go"}, pure),
	},
	{path: "fdpass", others: []string{sys}},
	{path: "health", others: []string{sys, netlink}, files: judging},
	{
		path: "service", ours: []string{"fdpass", "internal/listen", "internal/rejoin"}, others: []string{sys, tableflip},
		only: map[string][]string{tableflip: {"tableflip.go"}},
	},
	{path: "internal/rejoin", ours: []string{"fdpass"}}, // of services and shims
	{path: "internal/cgroup", others: []string{sys}},
	{path: "internal/listen", others: []string{sys}},
	{path: "systemd", others: []string{sys, gosystemd}}, // alone knows go-systemd, of what is shipped
	{path: "systemd/notifytest", others: []string{sys}},
	{path: "internal/orphan", others: []string{sys}},
	{path: "internal/load", others: []string{sys, histogram, xnet}}, // of net: the frames of HTTP/2
	{path: "internal/load/plot", ours: []string{"internal/load"}, others: []string{plot}},
	{path: "internal/architecture"},
	{path: "internal/corpus"},                          // a command of ours
	{path: "internal/leaktest", others: []string{sys}}, // of tests
	{path: "internal/golden"},                          // as well
	{path: "internal/numbers"},                         // as well
	{path: "internal/systemdtest", others: []string{sys}},
	{path: "internal/units"},    // is its tests
	{path: "internal/programs"}, // as well
	{path: "internal/scale"},    // as well
	{path: "internal/faults"},   // as well
	{path: "internal/compare"},  // as well
	{path: "internal/compare/server", ours: []string{"service"}, others: []string{sys, tableflip, gosystemd}}, // in the way of each
	{path: "internal/faults/failing", ours: []string{"service", "fdpass", "upgrade"}, others: []string{sys}},  // lies on the channel; of upgrade: EnvGeneration
	{path: "internal/scale/crowd", ours: []string{"service"}},
	{path: "internal/chaos"},                          // as well
	{path: "internal/rig", ours: []string{"upgrade"}}, // a supervisor for tests, by its command

	{
		path: "cmd/supervisor",
		ours: []string{
			"upgrade", "health", "fdpass", "systemd", "internal/listen", "internal/cgroup", "internal/load", "internal/orphan",
			"cmd/supervisor/internal/config", "cmd/supervisor/internal/control",
			"cmd/supervisor/internal/demo", "cmd/supervisor/internal/handover", "cmd/supervisor/internal/history",
			"cmd/supervisor/internal/hook", "cmd/supervisor/internal/metrics",
			"cmd/supervisor/internal/protocol", "cmd/supervisor/internal/queue", "cmd/supervisor/internal/rundir",
			"cmd/supervisor/internal/shim", "cmd/supervisor/internal/trial",
		},
		others: []string{sys, term, xsync, cobra},
	},
	{path: "cmd/supervisor/internal/config", ours: []string{"upgrade", "health", "internal/listen", "cmd/supervisor/internal/protocol"}, others: []string{toml, pflag}},
	{path: "cmd/supervisor/internal/protocol", ours: []string{"fdpass"}, others: []string{sys}},
	{
		path:   "cmd/supervisor/internal/shim",
		ours:   []string{"fdpass", "health", "internal/orphan", "internal/rejoin", "upgrade", "cmd/supervisor/internal/protocol"}, // of upgrade: CleanEnv
		others: []string{sys},
	},
	{
		path:   "cmd/supervisor/internal/control",
		ours:   []string{"upgrade", "cmd/supervisor/internal/config", "cmd/supervisor/internal/history", "cmd/supervisor/internal/queue", "cmd/supervisor/internal/rundir"},
		others: []string{sys},
	},
	{
		path:   "cmd/supervisor/internal/figures",
		ours:   []string{"upgrade", "internal/load", "cmd/supervisor/internal/queue"},
		others: []string{term},
	},
	{
		path: "cmd/supervisor/internal/trial",
		ours: []string{"upgrade", "internal/load", "internal/load/plot", "cmd/supervisor/internal/control", "cmd/supervisor/internal/figures"},
	},
	{path: "cmd/supervisor/internal/queue", ours: []string{"health", "upgrade"}, others: []string{term}},
	{
		path: "cmd/supervisor/internal/demo", // is a supervised service too
		ours: []string{
			"service", "upgrade", "internal/load", "internal/load/plot",
			"cmd/supervisor/internal/control", "cmd/supervisor/internal/figures", "cmd/supervisor/internal/rundir",
		},
		others: []string{sys},
	},
	{
		path: "cmd/supervisor/internal/history", ours: []string{"upgrade"},
		files: allOf([]string{"decision.go"}, []string{"fmt", "slices", "example.com/supervisor/upgrade"}),
	},
	{path: "cmd/supervisor/internal/handover", ours: []string{"upgrade"}, others: []string{sys}},
	{path: "cmd/supervisor/internal/hook", ours: []string{"upgrade"}, others: []string{sys}},
	{path: "cmd/supervisor/internal/metrics", ours: []string{"upgrade", "health"}, others: []string{prometheus}},
	{path: "cmd/supervisor/internal/rundir", others: []string{sys}},

	{path: "examples/python"}, // its test alone is written in Go
	{path: "examples/echo", ours: []string{"service"}},
	{path: "examples/http", ours: []string{"service"}},
	{path: "examples/udp", ours: []string{"service"}},
	{path: "examples/grpc", ours: []string{"service"}, others: []string{grpc, protobuf}}, // a module of its own
	{path: "examples/tableflip", others: []string{tableflip}},                            // knows nothing of this project
	{path: "examples/misbehave", ours: []string{"service", "fdpass"}},                    // lies on the channel
}
