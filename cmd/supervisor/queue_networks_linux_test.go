package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/queue"
	"example.com/supervisor/service"
	"example.com/supervisor/upgrade"
)

// TestUnixQueueDecides upgrades a service on a Unix socket, whose queue the
// kernel tells less of: neither ages nor drops.
func TestUnixQueueDecides(t *testing.T) {
	r := startRig(t, misbehaveIn(t), setup{listen: "http=unix://$DIR/http.sock"})
	run := r.arrivals(steady)
	r.answered(run, steady/2)
	if l := r.queue(); l.Depth == nil || l.Limit == nil || *l.Limit == 0 || l.Drops != nil {
		t.Errorf("the queue is shown as %+v", l)
	}
	if report := r.upgrade("-stop-accepting-after", "50"); report.Verdict != upgrade.Aborted && report.Verdict != upgrade.RolledBack {
		t.Errorf("%s (%s), want it undone", report.Verdict, report.Reason)
	}
	r.servesOn(run, 1)
	r.awaitQueue("an empty queue", isEmpty)
	r.committed("-version", "2")
	r.servesOn(run, 3)
	r.failed(run, 0)
}

// TestUpgradeWithoutQueues upgrades a service that has none: datagrams do not
// wait to be accepted. None is lost, and queues are not what decides.
func TestUpgradeWithoutQueues(t *testing.T) {
	r := startRig(t, "", setup{listen: "echo=udp://127.0.0.1:0", program: []string{"datagrams"}})
	conn, err := net.Dial("udp", strings.TrimPrefix(r.target, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	exchange := func(text string) error {
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		if _, err := conn.Write([]byte(text)); err != nil {
			return err
		}
		buffer := make([]byte, 64)
		n, err := conn.Read(buffer)
		if err == nil && string(buffer[:n]) != text {
			err = fmt.Errorf("%q instead of %q", buffer[:n], text)
		}
		return err
	}
	var ended atomic.Bool
	answers := make(chan error, 1)
	go func() { // until ended
		var err error
		for i := 0; err == nil && !ended.Load(); i++ {
			err = exchange(fmt.Sprint("datagram ", i))
		}
		answers <- err
	}()
	report := r.attempt(upgrade.Request{WaitDrain: true}, nil)
	ended.Store(true)
	if err := <-answers; err != nil {
		t.Error(err)
	}
	if report.Verdict != upgrade.Committed || len(report.Queues) > 0 {
		t.Errorf("%s (%s), queues %+v", report.Verdict, report.Reason, report.Queues)
	}
	if l := r.queue(); l.Queue != (queue.Queue{}) {
		t.Errorf("a queue is shown: %+v", l)
	}
}

// datagrams is a service that sends every datagram back.
func datagrams() {
	s, err := service.Join(service.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Fprintln(os.Stderr, "datagrams:", err)
		os.Exit(1)
	}
	packets, err := s.PacketConn(s.Names()[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, "datagrams:", err)
		os.Exit(1)
	}
	go func() { // until the drain
		defer packets.Close()
		buffer := make([]byte, 2048)
		for {
			n, from, err := packets.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = packets.WriteTo(buffer[:n], from) // a client that is gone needs no answer
		}
	}()
	if err := s.Run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "datagrams:", err)
		os.Exit(1)
	}
}
