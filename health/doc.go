// Package health observes a service from outside: how its generations answer,
// and how its accept queues are.
//
// It guarantees that every answer comes with its reason. Whatever waits here
// and fails says what was seen last, not only that time ran out. Nothing
// outlives a call: when a function returns, its connections are closed and the
// processes that it started, with their whole process group, are gone. What is
// not known is never taken for a zero.
//
// # Asking
//
// A Probe asks one generation once: HTTP over its private socket, or Command.
// Poll asks until the answer is yes, Watch until it has been no several times
// in a row, Settle and Steady until it has been yes for a while. What they
// decide is in Settling and Streak, which know neither clock nor probe.
//
// # Looking
//
// A Sampler looks at the accept queues of listeners whose descriptors it
// borrows: depth, limit and drops by getsockopt(2), the connections that wait by
// sock_diag(7). A Monitor does that again and again, follows the heads of the
// queues, adds what generations report, and shows all of it: to whoever follows
// each look, as Figures, as a Tally. Inspect and Netstat tell what all who hold
// a listener share, and what the whole network namespace counts;
// NamespaceListeners looks at everybody's. docs/accept-queue.md says what each
// figure means and how it is known.
//
// A Census counts the open connections of processes that report nothing.
//
// # Deciding
//
// Gate, Bake, Recent, Progress and Pacer take Observations and come to a
// Finding: may the old generation stop accepting, must it accept again, is this
// a moment to deploy, does the candidate finish what it accepts, shall a drain
// keep its clients. They and what they are made of, Standing, Growth, Rate and
// the rest, are pure: no clock, no goroutine, no input but what they are given.
//
// The package imports nothing else of this module.
package health
