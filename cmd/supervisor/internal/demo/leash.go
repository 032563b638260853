package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// HoldLeash returns a context that ends when nobody holds the other end of the
// pipe at descriptor fd any more, which it takes: however the demo ends, by
// SIGKILL too, the supervisor that it started hears of it and stops. let ends
// and joins the watch.
func HoldLeash(parent context.Context, fd int) (ctx context.Context, let func(), err error) {
	// Non-blocking, so that a read of it can be interrupted.
	if err := syscall.SetNonblock(fd, true); err != nil {
		return nil, nil, fmt.Errorf("cannot use descriptor %d as a leash: %w", fd, err)
	}
	leash := os.NewFile(uintptr(fd), "leash")
	ctx, cancel := context.WithCancel(parent)
	var watching sync.WaitGroup
	watching.Go(func() {
		if _, err := io.Copy(io.Discard, leash); !errors.Is(err, os.ErrDeadlineExceeded) {
			cancel()
		}
	})
	return ctx, func() {
		if err := leash.SetReadDeadline(time.Now()); err == nil { // a pipe has deadlines
			watching.Wait()
		}
		cancel()
		leash.Close()
	}, nil
}
