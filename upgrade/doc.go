// Package upgrade decides when one generation of a service replaces another, and
// owns the processes of all of them.
//
// What it guarantees:
//
//   - Every request gets one report. There is one upgrade at a time, and none
//     that failed stands in the way of the next.
//   - A candidate does not touch the active generation. That one pauses only when
//     the gate is open, and until the commit one message has it accept again.
//   - No phase lasts for ever. With generations that say nothing and end only when
//     they are killed, time alone ends everything.
//   - Who goes on where another supervisor was comes to a definite end of what
//     that one had begun: after an exec in its place, and after it was killed.
//
// The [Machine] decides and does nothing else: an event goes in, actions come out.
// The [Supervisor] is the one goroutine that owns it and does what it says. The
// [Launcher] of [NewLauncher] starts generations, hands them their listeners, and
// sees their ends; at the [Rendezvous] those come back that lost their supervisor.
// A [State] is all that the next supervisor must know.
//
// The package knows neither probes nor accept queues, and neither systemd nor
// control groups: what it needs of them are the interfaces [Watcher] and [Keeper].
// docs/design.md tells how it all fits together, and why.
package upgrade
