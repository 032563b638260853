package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// regulars are clients that keep a connection each, idle but for one request,
// and come back at once when it is closed.
type regulars struct {
	address string
	served  atomic.Int64 // requests
	failed  atomic.Int64 // connections that ended before the answer
	cause   atomic.Value // of one of them
	running sync.WaitGroup
}

func (g *regulars) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := g.visit(ctx); err != nil && ctx.Err() == nil {
			g.failed.Add(1)
			g.cause.Store(err.Error())
		}
	}
}

// visit connects, asks once, and stays until the server closes.
func (g *regulars) visit(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", g.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: test\r\n\r\n"); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	g.served.Add(1)
	_, _ = io.Copy(io.Discard, conn) // until it is closed
	return nil
}

// TestDrainIsPaced drains a generation with a thousand idle clients that come
// back at once, to a generation that accepts slowly, in a queue that holds few.
// They are not sent away faster than it takes them.
func TestDrainIsPaced(t *testing.T) {
	const clients = 1000
	r := startRig(t, misbehaveIn(t), setup{listen: shortQueue})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	all := &regulars{address: strings.TrimPrefix(r.target, "http://")}
	t.Cleanup(all.running.Wait)
	for i := range clients {
		all.running.Go(func() { all.run(ctx) })
		if i%50 == 49 { // not all at once
			r.poll("answers", func() bool { return all.served.Load() > int64(i-50) })
		}
	}
	r.poll("answers to all", func() bool { return all.served.Load() == clients })

	began := time.Now()
	report := r.committed("-slow-accept", "1ms")
	r.poll("everybody to be back", func() bool { return all.served.Load() >= 2*clients })
	t.Logf("all were back after %v", time.Since(began).Round(time.Millisecond))
	cancel()
	all.running.Wait()
	if failed := all.failed.Load(); failed > 0 || report.Cut > 0 {
		t.Errorf("%d clients failed (%v), %d connections were cut", failed, all.cause.Load(), report.Cut)
	}
	held := strings.Count(r.logged(), `msg="paces a drain" generation=1 hold=true`)
	t.Logf("clients were held back %d times", held)
	if held == 0 {
		t.Error("clients were never held back")
	}
	r.noDrops()
}
