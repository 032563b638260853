package demo

import (
	"os"
	"syscall"
	"testing"
	"time"
)

// pipe returns the number of a descriptor that HoldLeash may take, and its
// other end.
func pipe(t *testing.T) (theirs int, leash *os.File) {
	t.Helper()
	var ends [2]int
	if err := syscall.Pipe2(ends[:], syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	leash = os.NewFile(uintptr(ends[1]), "leash")
	t.Cleanup(func() { leash.Close() })
	return ends[0], leash
}

func TestLeashEndsWithItsHolder(t *testing.T) {
	t.Parallel()
	fd, leash := pipe(t)
	ctx, let, err := HoldLeash(t.Context(), fd)
	if err != nil {
		t.Fatal(err)
	}
	defer let()
	if ctx.Err() != nil {
		t.Fatal("ended at once")
	}
	leash.Close()
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("did not notice that the leash was let go")
	}
}

func TestLeashIsLet(t *testing.T) {
	t.Parallel()
	fd, leash := pipe(t)
	ctx, let, err := HoldLeash(t.Context(), fd)
	if err != nil {
		t.Fatal(err)
	}
	let()
	if ctx.Err() == nil {
		t.Error("the context goes on")
	}
	if _, err := leash.Write([]byte("x")); err == nil {
		t.Error("the other end is still open")
	}
}
