package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// TestUpgradesLoseNoCall upgrades the program five times by SIGHUP, each time as
// soon as the process before has ended, while clients call on connections of
// their own, on kept ones, and have streams open.
func TestUpgradesLoseNoCall(t *testing.T) {
	t.Parallel()
	p := start(t)
	calls := &calls{by: map[string]int{}}
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() { calls.keep(ctx, t, p.target) })
	}
	clients.Go(func() { calls.renew(ctx, t, p.target) })
	clients.Go(func() { calls.stream(ctx, t, p.target) })
	for range 5 {
		p.upgrade(t)
	}
	calls.await(t, p.pid)
	stop()
	clients.Wait()
	t.Logf("%d calls on kept connections, %d on new ones, %d streams, by %d processes", calls.kept, calls.fresh, calls.streams, len(calls.by))
	if len(calls.by) != 6 || calls.fresh == 0 || calls.streams == 0 {
		t.Errorf("answers by %v", calls.by)
	}
}

// calls are counted by kind and by the process that answered.
type calls struct {
	mu                   sync.Mutex
	kept, fresh, streams int
	by                   map[string]int
}

func connect(t *testing.T, target string) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Error(err)
	}
	return c
}

// say makes one call, which must succeed.
func (c *calls) say(t *testing.T, conn *grpc.ClientConn, count *int) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var header metadata.MD
	in, out := wrapperspb.String("word"), new(wrapperspb.StringValue)
	err := conn.Invoke(ctx, "/echo.Echo/Say", in, out, grpc.Header(&header))
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || out.GetValue() != "word" || len(header["pid"]) != 1 {
		t.Errorf("after %d calls: %q, %v, %v", *count, out.GetValue(), header, err)
		return
	}
	*count++
	c.by[header["pid"][0]]++
}

// keep makes one call after the other on one connection, which gRPC renews after a
// GOAWAY.
func (c *calls) keep(ctx context.Context, t *testing.T, target string) {
	conn := connect(t, target)
	defer conn.Close()
	for ctx.Err() == nil {
		c.say(t, conn, &c.kept)
	}
}

// renew makes each call on a connection of its own.
func (c *calls) renew(ctx context.Context, t *testing.T, target string) {
	for ctx.Err() == nil {
		conn := connect(t, target)
		c.say(t, conn, &c.fresh)
		conn.Close()
	}
}

// stream has one stream after the other of thirty numbers.
func (c *calls) stream(ctx context.Context, t *testing.T, target string) {
	conn := connect(t, target)
	defer conn.Close()
	for ctx.Err() == nil {
		if err := receive(conn, 30); err != nil {
			t.Errorf("stream %d: %v", c.streams, err)
		}
		c.mu.Lock()
		c.streams++
		c.mu.Unlock()
	}
}

func receive(conn *grpc.ClientConn, want int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/echo.Echo/Count")
	if err != nil {
		return err
	}
	if err := s.SendMsg(wrapperspb.Int64(want)); err != nil {
		return err
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	for n := int64(1); ; n++ {
		out := new(wrapperspb.Int64Value)
		err := s.RecvMsg(out)
		if err == io.EOF && n == want+1 {
			return nil
		}
		if err != nil || out.GetValue() != n {
			return fmt.Errorf("number %d is %d: %w", n, out.GetValue(), err)
		}
	}
}

// await waits until the last process has answered.
func (c *calls) await(t *testing.T, pid int) {
	deadline := time.Now().Add(10 * time.Second)
	for {
		c.mu.Lock()
		n := c.by[strconv.Itoa(pid)]
		c.mu.Unlock()
		if n > 20 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("process %d does not answer", pid)
			return
		}
		<-time.After(5 * time.Millisecond)
	}
}

// A program is the example, upgraded again and again.
type program struct {
	target string
	pid    int
	first  *exec.Cmd
	lines  chan string // of its log; closed when all processes have ended
}

func start(t *testing.T) *program {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "grpc")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("cannot build: %v\n%s", err, out)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{first: exec.Command(binary, "-listen", "grpc=tcp://127.0.0.1:0"), lines: make(chan string, 1000)}
	p.first.Stderr = write
	err = p.first.Start()
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	p.pid = p.first.Process.Pid
	go func() { // ends with the last process
		defer close(p.lines)
		defer read.Close()
		for lines := bufio.NewScanner(read); lines.Scan(); {
			p.lines <- lines.Text()
		}
	}()
	t.Cleanup(func() { p.end(t) })
	p.target = p.await(t, `address=(\S+)`)
	p.await(t, `(ready) generation`)
	return p
}

// await returns what the next line that matches has.
func (p *program) await(t *testing.T, pattern string) string {
	t.Helper()
	want := regexp.MustCompile(pattern)
	late := time.After(20 * time.Second)
	for {
		select {
		case line, ok := <-p.lines:
			if m := want.FindStringSubmatch(line); m != nil {
				return m[1]
			}
			if !ok {
				t.Fatalf("it ended before it said %q", pattern)
			}
		case <-late:
			t.Fatalf("it does not say %q", pattern)
		}
	}
}

// upgrade returns when the process before has ended.
func (p *program) upgrade(t *testing.T) {
	t.Helper()
	old := p.pid
	if err := syscall.Kill(old, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	next, err := strconv.Atoi(p.await(t, `upgraded pid=(\d+)`))
	if err != nil {
		t.Fatal(err)
	}
	p.pid = next
	p.await(t, `(drained)`)
	if old == p.first.Process.Pid {
		if err := p.first.Wait(); err != nil {
			t.Errorf("exit status: %v", err)
		}
	}
}

// end waits for the end of the last process.
func (p *program) end(t *testing.T) {
	if err := syscall.Kill(p.pid, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	for line := range p.lines {
		t.Log(line)
	}
	if p.pid == p.first.Process.Pid {
		_ = p.first.Wait()
	}
}
