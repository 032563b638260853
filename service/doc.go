// Package service makes a Go program one generation of a network service that
// a supervisor replaces without a failed connection.
//
// What it guarantees:
//
//   - A connection that was accepted is served, whatever is asked of the
//     program meanwhile, until it ends or outlives the drain deadline.
//   - A paused service takes nothing more from its sockets once it has said so,
//     keeps them open, and serves its open connections as before. Resumed, it
//     goes on. Nothing that waits in a queue is lost by either.
//   - A net/http server that drains answers every request that reached it: see
//     [Service.ServeHTTP] for what [net/http.Server.Shutdown] would lose.
//   - The program keeps serving when its supervisor goes away; one that was
//     paused at that moment accepts again. It rejoins the next supervisor, with
//     its listeners, as the generation that it was; if the service was stopped
//     meanwhile, it drains. SIGTERM and SIGINT drain it, with or without a
//     supervisor.
//   - A program without a supervisor runs the same way and opens its listeners
//     itself.
//
// How: [Join] takes over the listeners, over the channel whose number is in the
// environment. The program registers what serves them ([Service.ServeHTTP],
// [Service.Serve], or [Service.Listener] and [Service.PacketConn] for a server
// of its own) and calls [Service.Run], which says ready and returns when the
// service has ended, in three phases: stop intake, drain, cleanup. Everything
// in between, pausing, resuming, draining, statistics, health, needs nothing of
// the program.
//
// The statistics have, for each listener, how many connections were accepted,
// are open, and how long the closed ones were; how many requests were answered
// (ServeHTTP); and, for TCP on Linux, how long each connection had waited in the
// accept queue before the program took it ([Config].WithoutSojourn leaves that
// out). They are sent when they change, at the interval that the supervisor asks
// for, and once a second at least: by them it tells a generation that keeps up
// with its clients from one that only accepts them. A service that drains keeps
// its idle connections for as long as the supervisor asks it to, so that their
// clients do not come back all at once to a generation that is busy; at the end
// of the drain's time it closes them all the same.
//
// A listener of this package differs from the bare one in two ways: Accept
// waits while the service is paused, and connections are counted. They embed
// *net.TCPConn or *net.UnixConn, so sendfile and splice stay in use; code that
// asserts the type itself finds it with the method NetConn.
package service
