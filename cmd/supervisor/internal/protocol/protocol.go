// Package protocol says how programs are spoken to: how each protocol hands a
// program its listeners, how the program says that it is ready, and how it is
// told to end.
//
// It is pure: it knows neither processes nor descriptors, only their numbers.
package protocol

import (
	"fmt"
	"strings"
	"time"
)

// A Name is that of a protocol, as in the configuration.
type Name string

// The protocols.
const (
	Native        Name = "native"
	ListenFDs     Name = "listen-fds"
	Tableflip     Name = "tableflip"
	Einhorn       Name = "einhorn"
	ServerStarter Name = "server-starter"
	Nginx         Name = "nginx"
	None          Name = "none"
)

// A Protocol is what is known of one.
type Protocol struct {
	Name Name
	// Hands tells people how the listeners arrive.
	Hands string
	// Ready is how a program says that it accepts, unless the configuration has
	// another way, and Readies tells people.
	Ready   Readiness
	Readies string
	// Stop is how a program is told to end when it has accepted enough.
	Stop Schedule
	// Blocking tells that programs may rely on accept(2) to wait, and Because why,
	// or why not.
	Blocking bool
	Because  string
	// Watchdog tells that a program can be asked to say again and again that it
	// lives.
	Watchdog bool
	// Pauses tells that a generation can stop accepting and begin again, Reports
	// that it tells of its connections.
	Pauses, Reports bool
}

// aWhile is how long a program must live that has no word for being ready. It is
// what start_server(1) waits, too.
const aWhile = time.Second

// afterBinding is more than an nginx takes to give up: what it has not inherited
// it tries to open five times, with half a second between (ngx_connection.c,
// ngx_open_listening_sockets). Before that it lives and accepts nothing.
const afterBinding = 3 * time.Second

// All are the protocols, the native one first.
func All() []Protocol {
	const waits = "a program may wait in accept(2), as far as is known"
	return []Protocol{
		{
			Name: Native, Hands: "over a channel (docs/protocol.md)",
			Ready: Readiness{By: Word}, Readies: "its message ready", Stop: Signals(term),
			Because: "a generation that pauses must never wait in accept(2)",
			Pauses:  true, Reports: true,
		},
		{
			Name: ListenFDs, Watchdog: true, Hands: "descriptors 3, 4, ... with LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES, as systemd does",
			Ready: Readiness{By: Word}, Readies: "READY=1 on the NOTIFY_SOCKET that it is given", Stop: Signals(term),
			Blocking: true, Because: "systemd's own default (NonBlocking=no); programs that want it otherwise set it themselves",
		},
		{
			Name: Tableflip, Hands: "as a tableflip parent hands them to its child",
			Ready: Readiness{By: Word}, Readies: "its Ready", Stop: Signals(hup),
			Because: "it is Go, whose runtime waits elsewhere than in accept(2)",
		},
		{
			Name: Einhorn, Hands: "descriptors 3, 4, ... with EINHORN_FD_COUNT and EINHORN_FD_0, EINHORN_FD_1, ...",
			Ready: Readiness{By: Word}, Readies: "its ack on the EINHORN_SOCK_PATH that it is given", Stop: Signals(usr2),
			Blocking: true, Because: waits,
		},
		{
			Name: ServerStarter, Hands: "descriptors 3, 4, ... with SERVER_STARTER_PORT and SERVER_STARTER_GENERATION",
			Ready: Readiness{By: Time, After: aWhile}, Readies: "having lived for 1s", Stop: Signals(term),
			Blocking: true, Because: waits,
		},
		{
			Name: Nginx, Hands: "descriptors 3, 4, ... with NGINX, as an nginx hands them to the next one",
			Ready: Readiness{By: Time, After: afterBinding}, Readies: "having lived for 3s: for 2.5s it tries to open what it has not inherited", Stop: Signals(quit),
			Because: "nginx takes it that what it inherits does not block",
		},
		{
			Name: None, Hands: "descriptors 3, 4, ... in the order of the listeners, and nothing else",
			Ready: Readiness{By: Time, After: aWhile}, Readies: "having lived for 1s", Stop: Signals(term),
			Blocking: true, Because: waits,
		},
	}
}

// Parse finds the protocol of that name; "" is the native one.
func Parse(name string) (Protocol, error) {
	if name == "" {
		name = string(Native)
	}
	var names []string
	for _, p := range All() {
		if string(p.Name) == name {
			return p, nil
		}
		names = append(names, string(p.Name))
	}
	return Protocol{}, fmt.Errorf("there is no protocol %q; there are %s", name, strings.Join(names, ", "))
}
