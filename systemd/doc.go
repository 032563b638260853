// Package systemd speaks with systemd, as a service that it runs: it takes the
// sockets of socket units, tells how the service does, keeps listeners in the
// descriptor store, and writes to the journal. It writes unit files, too; those
// beside this file are written by it, and internal/units has the tests of them.
//
// What it guarantees:
//
//   - [Inherit] takes all that was passed or nothing. What it returns has been
//     looked at: of socket units come only listeners and datagram sockets that
//     can be served, each under a name of its own. Everything else is an error
//     that names the line of the unit to mend, and then all of it is closed.
//   - No descriptor that was passed is left inheritable, and no variable that
//     told of it (LISTEN_*) is left in the environment.
//   - What comes from the descriptor store is told apart by its name (see
//     [StoreName]) and given as it is: it comes again at each start, so an error
//     about it would never end.
//   - A [Notifier] and the handler of [NewJournalHandler] wait at most a second
//     for a systemd that does not read. They hold no descriptor, so nothing has
//     to be handed over or opened anew when either side starts afresh.
//   - Whatever a status says, it is one line that systemd accepts; whatever an
//     attribute is called, its field is one that the journal takes.
//
// What systemd does with it, on 252 and 257 alike:
//
//   - Sockets come before what was stored. Their order is not that of Sockets=,
//     and another after a daemon-reload or daemon-reexec: only names count.
//   - Without NonBlocking=yes it makes the sockets of socket units blocking at
//     each start, for whoever holds them. Those from the store it leaves alone.
//   - The store survives a restart, a crash, an automatic restart, daemon-reload
//     and daemon-reexec. It is emptied by a stop, also by one while an automatic
//     restart is due, and once the service has failed for good.
//   - One socket that is stored twice under one name is there once. More than
//     FileDescriptorStoreMax= is dropped, which the service is not told.
//
// The sources: sd_listen_fds(3), sd_notify(3), sd_pid_notify_with_fds(3),
// sd_notify_barrier(3), sd_watchdog_enabled(3), systemd.socket(5),
// systemd.service(5), systemd.exec(5), systemd.journal-fields(7), and
// https://systemd.io/FILE_DESCRIPTOR_STORE and JOURNAL_NATIVE_PROTOCOL there.
//
// Of go-systemd come the words of notifications and the priorities. Its calls do
// not fit here: activation.Files returns nothing where anything is wrong,
// daemon.SdNotify waits without end and sends no descriptors, and journal.Send
// keeps a processor busy while the journal's queue is full. The words for who
// owns a descriptor are those of package fdpass: borrows, gives, takes.
package systemd
