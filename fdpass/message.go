package fdpass

import "time"

// Protocol is the version of the protocol that this package speaks. Both
// sides state it in their first message; a peer with another version is
// refused.
const Protocol = 1

// EnvFD names the environment variable that tells a child the number of its
// channel descriptor. A child unsets it before it starts processes of its own.
const EnvFD = "SUPERVISOR_FD"

const (
	// MaxPacket is the size of the largest packet, in bytes.
	MaxPacket = 64 << 10
	// MaxBatch is the number of descriptors sent in one packet at most. The
	// kernel allows 253 (SCM_MAX_FD, unix(7)).
	MaxBatch = 252
	// MaxListeners is the number of listeners a handoff may carry at most.
	MaxListeners = 16384
)

// Capabilities that a child may state in its Hello.
const (
	// CanPause: understands pause and resume.
	CanPause = "pause"
	// CanStats: sends stats.
	CanStats = "stats"
	// CanProbe: serves HTTP on the probe descriptor of the Welcome.
	CanProbe = "probe"
	// CanHold: understands hold.
	CanHold = "hold"
	// CanActive: sends stats in which of the counts only those of the open
	// connections are meant. A child states it instead of CanStats.
	CanActive = "active"
)

// A Message is one of the structs below; docs/protocol.md describes each.
type Message interface {
	// kind is the value of the packet's "type".
	kind() string
	// validate reports what in a received message cannot be so.
	validate() error
}

// Hello is the child's first message.
type Hello struct {
	Protocol     int      `json:"protocol"`
	PID          int      `json:"pid"`
	Library      string   `json:"library,omitempty"`
	Capabilities []string `json:"capabilities,omitempty"`
}

// Welcome answers a Hello. If Probe is set, the packet carries one
// descriptor: a listening Unix stream socket, private to this generation, on
// which the child may answer HTTP requests that ask after its health.
type Welcome struct {
	Protocol   int    `json:"protocol"`
	Service    string `json:"service"`
	Generation int    `json:"generation"`
	// Listeners is the number of listeners that follow.
	Listeners int  `json:"listeners"`
	Probe     bool `json:"probe,omitempty"`
	// StatsMS is the interval at which the child should send Stats; 0 means
	// never.
	StatsMS int64 `json:"stats_ms,omitempty"`
	// ReadyMS is how long the child has to say ready.
	ReadyMS int64 `json:"ready_ms,omitempty"`
	// Rendezvous is the path of the socket where to say [Rejoin] when this
	// channel ends. Empty: there is none, and the child serves on by itself.
	Rendezvous string `json:"rendezvous,omitempty"`
	// Token is the secret of this generation, to be said there: 16 to 128
	// hexadecimal digits. It is never logged.
	Token string `json:"token,omitempty"`
}

// Rejoin is a child's first message on the rendezvous socket of a supervisor
// that goes on where another one was. Ready says that the child has become
// ready, heard or not; Draining that it accepts nothing more.
type Rejoin struct {
	Protocol   int    `json:"protocol"`
	PID        int    `json:"pid"`
	Service    string `json:"service"`
	Generation int    `json:"generation"`
	// Token is that of the last Welcome. It is never logged.
	Token    string `json:"token"`
	Ready    bool   `json:"ready,omitempty"`
	Draining bool   `json:"draining,omitempty"`
	// Listeners is the number of listeners that the child gives back.
	Listeners    int      `json:"listeners"`
	Library      string   `json:"library,omitempty"`
	Capabilities []string `json:"capabilities,omitempty"`
}

// Listeners carries one batch of listeners; their descriptors are attached to
// the packet in the same order.
type Listeners struct {
	// Batch counts from 1 to Of.
	Batch     int        `json:"batch"`
	Of        int        `json:"of"`
	Listeners []Listener `json:"listeners"`
}

// Received acknowledges one batch with the cookies as the child sees them, in
// order: the proof that it holds the same sockets.
type Received struct {
	Batch   int      `json:"batch"`
	Count   int      `json:"count"`
	Cookies []Cookie `json:"cookies"`
}

// Ready says that the child accepts connections.
type Ready struct{}

// Failed says that the child cannot do its work, in words. It may be sent
// instead of Ready, or later.
type Failed struct {
	Reason string `json:"reason"`
}

// Pause asks the child to stop accepting; it keeps its listeners and serves
// its open connections as before.
type Pause struct {
	ID uint64 `json:"id"`
}

// Resume asks a paused child to accept again.
type Resume struct {
	ID uint64 `json:"id"`
}

// Drain asks the child to stop for good: accept nothing more, finish what was
// accepted, then exit with status 0. DeadlineMS is how long it may take. If
// Final is set no other generation accepts from the listeners any more: the
// child empties the accept queues before it closes them.
type Drain struct {
	ID         uint64 `json:"id"`
	DeadlineMS int64  `json:"deadline_ms"`
	Final      bool   `json:"final,omitempty"`
}

// Hold asks a draining child to keep its idle connections for now (On), or to
// go on closing them: their clients come back as new connections, which the
// next generation must be able to take. It is not answered, and sent only to a
// child that states CanHold. The deadline of the drain stays, and the end of the
// channel releases.
type Hold struct {
	On bool `json:"on"`
}

// Paused answers Pause once no further connection will be accepted.
type Paused struct {
	ID       uint64 `json:"id"`
	Accepted uint64 `json:"accepted"`
}

// Resumed answers Resume.
type Resumed struct {
	ID uint64 `json:"id"`
}

// Drained answers Drain when no connection is left. Cut is the number of
// connections that were closed because the deadline had come.
type Drained struct {
	ID       uint64 `json:"id"`
	Accepted uint64 `json:"accepted"`
	Cut      int    `json:"cut,omitempty"`
	// Unknown tells that some may have been, and Cut means nothing.
	Unknown bool `json:"unknown,omitempty"`
}

// Stats reports what the child's listeners do. It is sent at the interval of
// the Welcome, and a last time before Paused and before Drained. Listeners whose
// counts have not changed may be left out, and the whole message if that leaves
// none, but not for longer than a second.
type Stats struct {
	Listeners []ListenerStats `json:"listeners"`
	// Program is the number of the process that serves, where the child only
	// stands for it; 0: the child itself does.
	Program int `json:"program,omitempty"`
}

// ListenerStats are the figures of one listener since the child started.
type ListenerStats struct {
	Name string `json:"name"`
	// Accepted counts connections (for datagram sockets: datagrams read).
	Accepted uint64 `json:"accepted,omitempty"`
	// Active is the number of connections that are open now.
	Active int64 `json:"active"`
	// Unknown tells that Active is not known, or not any more. Only a child that
	// states CanActive says so.
	Unknown bool `json:"unknown,omitempty"`
	// OldestMS is the age of the oldest open connection.
	OldestMS int64 `json:"oldest_ms,omitempty"`
	// Durations is a histogram of how long closed connections were open:
	// element i counts those shorter than 2^i milliseconds (and not shorter
	// than 2^(i-1)); the last element counts all the longer ones.
	Durations []uint64 `json:"durations,omitempty"`
	// Answered counts requests that were answered, where the child knows of
	// requests: for HTTP. A request whose handler has not returned is none.
	Answered uint64 `json:"answered,omitempty"`
	// Sojourn is a histogram, in the buckets of Durations, of how long accepted
	// connections had waited in the accept queue. Empty: the child does not
	// know, as for sockets that are not TCP.
	Sojourn []uint64 `json:"sojourn,omitempty"`
}

// Error tells the peer that its last message was not understood or not
// allowed. The sender of a fatal one closes the channel.
type Error struct {
	Reason string `json:"reason"`
	// Dismissed, in answer to a Rejoin, says that no supervisor will ever take
	// this generation back: it is to drain and to end.
	Dismissed bool `json:"dismissed,omitempty"`
}

// Listener describes one socket of a handoff and holds its descriptor.
type Listener struct {
	// Name identifies the listener; names are unique in a service.
	Name string `json:"name"`
	// Network is a network of package net: tcp, tcp4, tcp6, unix, unixpacket,
	// unixgram, udp, udp4 or udp6.
	Network string `json:"network"`
	// Address is the bound address as getsockname gives it.
	Address string `json:"address"`
	// Cookie is the socket's SO_COOKIE (socket(7)), its identity in every
	// process that holds it.
	Cookie Cookie `json:"cookie"`
	// Kept: somebody beyond the supervisor, the service manager, holds the
	// socket open. Its accept queue outlives the service, so a final drain
	// leaves it alone.
	Kept bool `json:"kept,omitempty"`
	// FD is the descriptor. Who owns it is said where the Listener is passed.
	FD int `json:"-"`
}

// A Cookie is a socket's SO_COOKIE. In JSON it is a string of decimal digits,
// because many JSON readers lose the low bits of large numbers.
type Cookie uint64

// Milliseconds converts a duration for a message; less than one millisecond
// becomes one, so that a short time is not mistaken for none.
func Milliseconds(d time.Duration) int64 {
	if d > 0 && d < time.Millisecond {
		return 1
	}
	return d.Milliseconds()
}
