package faults

// matrix is what must come of each fault in each phase, written down before it is
// run; the words are those of the README's promises, docs/design.md ("When it goes
// wrong"), docs/machine.md and docs/protocol.md. A cell says
//
//	VERDICT [LOSS] [SERVER] [+REMEDY]
//
// VERDICT is that of the upgrade: committed, aborted, rolled-back, refused, or none
// where none was asked for; a/b where both are right, as which of two things comes
// first decides.
// LOSS is which requests may fail: by default none; "own", those that the failed
// process had accepted itself; "gap", those that came while the listener was shut,
// which the kernel refuses or resets.
// SERVER is who is active afterwards: by default the new generation if it was
// committed, the old one otherwise; "restarted", one that was started again.
// REMEDY is what somebody has to do besides, because the service cannot help itself:
// "+undo", the fault is taken back (SIGCONT, for one); "+force", an upgrade with
// --force, as docs/design.md has it for a generation that hangs; "+upgrade", an
// upgrade. Without one all comes right by itself.
// A dash is a cell that cannot be, because of what impossible says.
//
// What holds for every cell besides: while a fault is one of the candidate, the old
// generation serves on; the fault having been taken back where it lasts, an ordinary
// upgrade commits; then the service is stopped, and no process, file or descriptor is
// left.
const matrix = `
fault                                                | starting           | ready                   | overlap                 | gate                    | cut-over                  | bake                      | commit                  | drain                   | idle
the new generation exits                             | aborted            | aborted own             | aborted own             | aborted own             | aborted own               | rolled-back own           | committed own restarted | committed own restarted | -
the new generation is killed (SIGKILL)               | aborted            | aborted own             | aborted own             | aborted own             | aborted own               | rolled-back own           | committed own restarted | committed own restarted | -
the new generation is stopped (SIGSTOP)              | aborted            | aborted own             | aborted own             | aborted own             | rolled-back own           | rolled-back own           | committed +undo         | committed +undo         | -
the new generation hangs                             | aborted            | aborted own             | aborted own             | aborted own             | rolled-back own           | rolled-back own           | committed own +force    | committed own +force    | -
the handlers of the new generation hang              | aborted own        | aborted/rolled-back own | aborted/rolled-back own | aborted/rolled-back own | rolled-back own           | rolled-back own           | committed own +upgrade  | committed own +upgrade  | -
the new generation closes its listener               | aborted            | aborted                 | aborted                 | aborted                 | aborted                   | rolled-back               | committed restarted     | committed restarted     | -
the new generation calls shutdown(2) on it           | committed gap      | committed gap           | committed gap           | committed gap           | committed/rolled-back gap | committed/rolled-back gap | committed gap           | committed gap           | -
the new generation clears O_NONBLOCK                 | committed          | committed               | committed               | committed               | committed                 | committed                 | committed               | committed               | -
the new generation shrinks the backlog               | committed          | committed               | committed               | committed               | committed                 | committed                 | committed               | committed               | -
the new generation leaks descriptors                 | committed          | committed               | committed               | committed               | committed                 | committed                 | committed               | committed               | -
the new generation exhausts its descriptors          | aborted            | aborted                 | aborted                 | aborted                 | rolled-back               | rolled-back               | committed +force        | committed +force        | -
the new generation forks holders of the listener     | committed          | committed               | committed               | committed               | committed                 | committed                 | committed               | committed               | -
the new generation ignores SIGTERM and the drain     | committed own      | committed own           | committed own           | committed own           | committed own             | committed own             | committed own           | committed own           | -
the new generation lies on the channel               | rolled-back        | committed own           | committed own           | committed own           | committed own             | committed own             | committed own           | committed own           | -
the new generation floods the channel                | aborted            | aborted                 | aborted                 | aborted                 | aborted                   | rolled-back               | committed               | committed               | -
the new generation stops reading the channel         | rolled-back        | rolled-back             | rolled-back             | rolled-back             | rolled-back               | rolled-back               | committed               | committed               | -
the old generation exits                             | committed own      | committed own           | committed own           | committed own           | committed own             | committed own             | committed own           | committed own           | none own restarted
the old generation is killed (SIGKILL)               | committed own      | committed own           | committed own           | committed own           | committed own             | committed own             | committed own           | committed own           | none own restarted
the old generation is stopped (SIGSTOP)              | aborted +undo      | aborted +undo           | aborted +undo           | aborted +undo           | aborted +undo             | committed own             | committed own           | committed own           | none +undo
the old generation hangs                             | aborted own +force | aborted own +force      | aborted own +force      | aborted own +force      | aborted own +force        | committed own             | committed own           | committed own           | none own +force
the handlers of the old generation hang              | committed own      | committed own           | committed own           | committed own           | committed own             | committed own             | committed own           | committed own           | none own +upgrade
the old generation closes its listener               | committed          | committed               | committed               | committed               | committed                 | committed                 | committed               | -                       | none restarted
the old generation calls shutdown(2) on it           | committed gap      | committed gap           | committed gap           | committed gap           | committed/rolled-back gap | committed/rolled-back gap | committed gap           | -                       | none gap
the old generation clears O_NONBLOCK                 | committed          | committed               | committed               | committed               | committed                 | committed                 | committed               | -                       | none
the old generation shrinks the backlog               | committed          | committed               | committed               | committed               | committed                 | committed                 | committed               | -                       | none
the old generation leaks descriptors                 | committed          | committed               | committed               | committed               | committed                 | committed                 | committed               | committed               | none
the old generation exhausts its descriptors          | committed          | committed               | committed               | committed               | committed                 | committed                 | committed               | committed               | none +force
the old generation forks holders of the listener     | committed          | committed               | committed               | committed               | committed                 | committed                 | committed               | -                       | none
the old generation ignores SIGTERM and the drain     | committed own      | committed own           | committed own           | committed own           | committed own             | committed own             | committed own           | committed own           | none own
the old generation lies on the channel               | committed own      | committed own           | committed own           | committed own           | committed own             | committed own             | committed own           | committed own           | none own
the old generation floods the channel                | committed          | committed               | committed               | committed               | committed                 | committed                 | committed               | committed               | none
the old generation stops reading the channel         | aborted            | aborted                 | aborted                 | aborted                 | committed                 | committed                 | committed               | committed               | none
the new generation gets no more memory (RLIMIT_DATA) | aborted            | aborted own             | aborted own             | aborted own             | aborted own               | rolled-back own           | committed own restarted | committed own restarted | -
the new generation exceeds its memory.max            | aborted            | aborted own             | aborted own             | aborted own             | aborted own               | rolled-back own           | committed own restarted | committed own restarted | -
the old generation gets no more memory (RLIMIT_DATA) | committed own      | committed own           | committed own           | committed own           | committed own             | committed own             | committed own           | committed own           | none own restarted
the old generation exceeds its memory.max            | committed own      | committed own           | committed own           | committed own           | committed own             | committed own             | committed own           | committed own           | none own restarted
the supervisor is killed (SIGKILL)                   | aborted            | aborted                 | aborted                 | aborted                 | aborted                   | rolled-back               | committed               | committed               | none
the supervisor is stopped for a second (SIGSTOP)     | committed          | committed               | committed               | committed               | committed                 | committed                 | committed               | committed               | none
the supervisor is out of descriptors                 | aborted +undo      | aborted +undo           | aborted +undo           | aborted +undo           | rolled-back +undo         | rolled-back +undo         | committed +undo         | committed +undo         | none +undo
the supervisor is short of memory                    | aborted            | aborted                 | aborted                 | aborted                 | aborted                   | rolled-back               | committed               | committed               | none
the disk of the supervisor is full                   | committed          | committed               | committed               | committed               | committed                 | committed                 | committed               | committed               | refused
the control socket is removed                        | committed          | committed               | committed               | committed               | committed                 | committed                 | committed               | committed               | none
the program is deleted                               | committed          | committed               | committed               | committed               | committed                 | committed                 | committed               | committed               | refused
the program is being written (ETXTBSY)               | aborted            | committed               | committed               | committed               | committed                 | committed                 | committed               | committed               | aborted
the program is truncated                             | aborted            | committed               | committed               | committed               | committed                 | committed                 | committed               | committed               | aborted
the program is for another machine                   | aborted            | committed               | committed               | committed               | committed                 | committed                 | committed               | committed               | aborted
the program is replaced by another                   | committed          | committed               | committed               | committed               | committed                 | committed                 | committed               | committed               | committed
the program is written over                          | aborted            | committed               | committed               | committed               | committed                 | committed                 | committed               | committed               | committed
the clock is an hour ahead                           | committed          | committed               | committed               | committed               | committed                 | committed                 | committed               | committed               | none
the clock is an hour behind                          | committed          | committed               | committed               | committed               | committed                 | committed                 | committed               | committed               | none
a second caller                                      | committed          | committed               | committed               | committed               | committed                 | committed                 | committed next          | committed next          | committed
the caller is killed                                 | committed          | committed               | committed               | committed               | committed                 | committed                 | -                       | committed               | -
the caller stops reading                             | committed          | committed               | committed               | committed               | committed                 | committed                 | -                       | committed               | -
`

// impossible says why there are cells that cannot be.
const impossible = "there is no new generation and no caller while no upgrade runs, an old one that drains has closed its listener, and at the commit a caller has the verdict"

// selection are the cells that go test runs: each fault once, each phase several
// times.
const selection = `
the new generation exits: bake
the new generation is killed (SIGKILL): cut-over
the new generation is stopped (SIGSTOP): commit
the new generation hangs: bake
the handlers of the new generation hang: overlap
the new generation closes its listener: ready
the new generation calls shutdown(2) on it: starting
the new generation clears O_NONBLOCK: gate
the new generation shrinks the backlog: drain
the new generation leaks descriptors: commit
the new generation exhausts its descriptors: bake
the new generation forks holders of the listener: overlap
the new generation ignores SIGTERM and the drain: ready
the new generation lies on the channel: starting
the new generation floods the channel: gate
the new generation stops reading the channel: cut-over
the old generation exits: idle
the old generation is killed (SIGKILL): gate
the old generation is stopped (SIGSTOP): cut-over
the old generation hangs: idle
the handlers of the old generation hang: drain
the old generation closes its listener: idle
the old generation calls shutdown(2) on it: overlap
the old generation clears O_NONBLOCK: cut-over
the old generation shrinks the backlog: gate
the old generation leaks descriptors: drain
the old generation exhausts its descriptors: ready
the old generation forks holders of the listener: commit
the old generation ignores SIGTERM and the drain: bake
the old generation lies on the channel: cut-over
the old generation floods the channel: bake
the old generation stops reading the channel: starting
the new generation gets no more memory (RLIMIT_DATA): overlap
the new generation exceeds its memory.max: starting
the old generation gets no more memory (RLIMIT_DATA): drain
the old generation exceeds its memory.max: bake
the supervisor is killed (SIGKILL): bake
the supervisor is stopped for a second (SIGSTOP): gate
the supervisor is out of descriptors: cut-over
the supervisor is short of memory: overlap
the disk of the supervisor is full: idle
the control socket is removed: starting
the program is deleted: gate
the program is being written (ETXTBSY): idle
the program is truncated: idle
the program is for another machine: starting
the program is replaced by another: starting
the program is written over: starting
the clock is an hour ahead: ready
the clock is an hour behind: drain
a second caller: ready
the caller is killed: gate
the caller stops reading: drain
`
