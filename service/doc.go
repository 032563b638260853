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
//   - A program without a supervisor runs the same way: with the sockets that
//     systemd passes, or with listeners that it opens itself. It upgrades itself
//     at SIGHUP and loses no connection by it, nor by one that fails.
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
// # Without a supervisor
//
// One program has three ways to run. Under a supervisor all is as above, and SIGHUP
// means nothing to this package. Without:
//
// Under systemd's socket activation (LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES;
// systemd.socket(5)) the listeners are those of the socket units. FileDescriptorName=
// of each must be a name in [Config].Listen, and each name there must come; whatever
// is left over on one side is an error that says which line of which unit to mend.
// Only a single socket without a FileDescriptorName= is taken for the single name of
// Config.Listen. At its end the service does not empty the queue of such a listener:
// what waits there waits for the next start.
//
// Where NOTIFY_SOCKET is set (Type=notify) systemd is told READY=1, STOPPING=1 when the
// service drains, WATCHDOG=1 where WatchdogSec= is set, and of upgrades. All these
// variables are removed from the environment.
//
// Otherwise the program opens the listeners of Config.Listen. Unless
// [Config].WithoutUpgrade is set, SIGHUP has it start its own file anew (the path and
// the arguments by which it was started: a symbolic link may lead to another release)
// through github.com/cloudflare/tableflip, with its listeners. The new process accepts
// nothing before it is ready and was told to serve; from then on the old one drains as
// it does under a supervisor, and its Run returns. A new process that exits, is not
// ready in time ([Config].UpgradeTimeout) or cannot use the listeners changes nothing:
// the old one logs the reason and serves on. It is not watched after that: for probes,
// a look at the accept queue and a way back, run the program under a supervisor. Only
// one upgrade at a time, and none while the process before still drains, is possible;
// another SIGHUP is logged. Listeners are known by their addresses: those that the new
// release does not have any more are closed when it serves, others are opened.
//
// A service of systemd upgrades itself too, by "systemctl reload" with
// Type=notify-reload, or with ExecReload=kill -HUP $MAINPID. Its unit has PIDFile=,
// the same as [Config].PIDFile; without one the upgrade is refused, because systemd
// would end the unit with the old process. That one tells systemd that it is
// reloading (RELOADING=1), and how it went (READY=1), and when it ends systemd finds
// the next main process in the file. It does not say MAINPID=: see docs/alone.md.
// In process 1 of a container, which ends with it, an upgrade is refused too. A
// terminal that is closed sends SIGHUP as well.
//
// The state of tableflip is the process's: a program that uses it besides sets
// WithoutUpgrade, and of several calls of [Join] in one process only the first has
// upgrades.
//
// # Listeners
//
// A listener of this package differs from the bare one in two ways: Accept
// waits while the service is paused, and connections are counted. They embed
// *net.TCPConn or *net.UnixConn, so sendfile and splice stay in use; code that
// asserts the type itself finds it with the method NetConn.
package service
