package service

import (
	"testing"

	"golang.org/x/sys/unix"

	"example.com/supervisor/fdpass"
)

type fdpassFailed = fdpass.Failed

// shutdownListener does what a foreign process that shares the socket may do:
// it ends listening for every holder.
func shutdownListener(t *testing.T, fd int) {
	t.Helper()
	if err := unix.Shutdown(fd, unix.SHUT_RD); err != nil {
		t.Fatal(err)
	}
}
