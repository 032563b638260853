package load

// A FailureKind says in which way a request failed.
type FailureKind string

// The kinds of failure.
const (
	Refused  FailureKind = "refused"  // nobody listens, or a Unix socket's queue is full
	Reset    FailureKind = "reset"    // the connection was reset or broken
	Timeout  FailureKind = "timeout"  // no answer in time
	EOF      FailureKind = "eof"      // closed before the whole answer
	Status   FailureKind = "status"   // an answer with another status
	Body     FailureKind = "body"     // an answer with other content
	Overload FailureKind = "overload" // not sent: too many requests in flight
	Other    FailureKind = "other"
)
