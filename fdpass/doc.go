// Package fdpass moves listening sockets from a supervisor to the generations
// of the service that it runs, and carries the few messages that steer them.
//
// What it guarantees:
//
//   - A child that [Accept] returned listeners to holds the very sockets that
//     the supervisor offered: their number and the kernel's cookie of each
//     have been compared at both ends.
//   - No descriptor leaks. Whatever a peer sends, a descriptor is either given
//     to the caller or closed, and every received one is close-on-exec.
//   - The flags of a passed socket are left alone. O_NONBLOCK belongs to the
//     open file description (open(2)), which all holders share, so nothing
//     here calls (*os.File).Fd, which would clear it for all of them.
//   - A packet that makes no sense is a [*MessageError]; the channel stays
//     usable, because a packet boundary is never lost.
//
// The channel ([Conn]) is a Unix socket of type SOCK_SEQPACKET (unix(7)): one
// packet is one message, a JSON object of at most [MaxPacket] bytes, and the
// descriptors travel beside it as SCM_RIGHTS. The supervisor makes a [Pair],
// starts the child with one end of it and calls [Offer]; the child finds its
// end with [FromEnv] and calls [Accept]. A child whose supervisor was killed
// finds the next one with [DialRendezvous] and calls [GiveBack], which that one
// answers with [TakeBack]. docs/protocol.md describes the whole
// of it for those who implement a child in another language.
//
// The words for ownership: a function that borrows a descriptor leaves it open
// and with the caller; one that gives a descriptor leaves it to the caller to
// close; one that takes a descriptor closes it in the end.
//
// The channel exists on Linux only. Elsewhere the package builds, [FromEnv]
// says [ErrNoSupervisor], and the rest returns errors.ErrUnsupported.
package fdpass
