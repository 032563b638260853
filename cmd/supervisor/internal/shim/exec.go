package shim

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// execCommand is the word by which this binary is told to be the last stage of a
// program's start.
const execCommand = "shim-exec"

// selfPID stands in an environment for the pid of the program.
const selfPID = "self"

// Exec replaces this process by a program that is to find its own pid in its
// environment, if args are those of such a start. It does not return then. What
// hinders it is written to a descriptor that the program does not inherit.
func Exec(args []string) {
	if len(args) < 5 || args[1] != execCommand {
		return
	}
	fd, err := strconv.Atoi(args[2])
	if err != nil || fd < 3 {
		return
	}
	unix.CloseOnExec(fd)
	err = syscall.Exec(args[3], args[4:], withPID(os.Environ()))
	_, _ = unix.Write(fd, []byte(err.Error()))
	os.Exit(exitCannotExecute)
}

// exitCannotExecute is what shells say of a program that cannot be executed.
const exitCannotExecute = 126

// withPID puts the own pid where it is meant.
func withPID(env []string) []string {
	pid := strconv.Itoa(os.Getpid())
	for i, entry := range env {
		switch entry {
		case "LISTEN_PID=" + selfPID, "WATCHDOG_PID=" + selfPID:
			env[i] = strings.TrimSuffix(entry, selfPID) + pid
		}
	}
	return env
}

// said is why the program could not be executed; "" if it was.
func said(told io.Reader) string {
	text, err := io.ReadAll(io.LimitReader(told, 4096))
	if err != nil {
		return fmt.Sprintf("it is not known whether it was executed: %v", err)
	}
	return string(text)
}
