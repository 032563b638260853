package demo

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
)

// A Fault is what is wrong with a version of the service.
type Fault string

// The faults that a version may have.
const (
	// Sound is no fault.
	Sound Fault = ""
	// Crash exits with a complaint before it is ready.
	Crash Fault = "crash"
	// Sick is well until it gets SIGUSR1: from then on its probe is answered
	// with 503. It serves its clients all the same: a version that dies with
	// requests in its hands loses them, and no supervisor can bring them back.
	Sick Fault = "sick"
	// Stall accepts until it gets SIGUSR1, and then no more. Its probe is
	// answered as ever, and so are the clients that it has: only the accept
	// queue shows that others wait.
	Stall Fault = "stall"
)

// faults returns all faults.
func faults() []Fault { return []Fault{Sound, Crash, Sick, Stall} }

// latent reports whether the fault shows only when the signal onset comes.
func (f Fault) latent() bool { return f == Sick || f == Stall }

// onset is the signal from which on a latent fault shows.
const onset = syscall.SIGUSR1

// setOn sets flag when the signal comes; stop ends and joins that.
func setOn(sig os.Signal, flag *atomic.Bool) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, sig)
	var watching sync.WaitGroup
	watching.Go(func() {
		for range signals {
			flag.Store(true)
		}
	})
	return func() {
		signal.Stop(signals)
		close(signals)
		watching.Wait()
	}
}

// healthUntil answers a probe that all is well, until sick is set.
func healthUntil(sick *atomic.Bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if sick.Load() {
			http.Error(w, "feels sick; it is made to", http.StatusServiceUnavailable)
		}
	})
}

// stallFrom is a hook for http.Server.ConnContext that hangs once begun is set,
// until end is closed. The server calls it in its accept loop, between two
// calls of Accept, so that it accepts no more. The connection for which it hangs
// waits with it and is served at the end; those before are served meanwhile.
func stallFrom(begun *atomic.Bool, end <-chan struct{}) func(context.Context, net.Conn) context.Context {
	return func(ctx context.Context, _ net.Conn) context.Context {
		if begun.Load() {
			<-end
		}
		return ctx
	}
}
