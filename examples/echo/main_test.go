package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// start builds the example and runs it alone, on a Unix socket.
func start(t *testing.T) (cmd *exec.Cmd, socket string) {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "echo")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("cannot build: %v\n%s", err, out)
	}
	socket = filepath.Join(dir, "s")
	cmd = exec.Command(binary, "-listen", "echo=unix://"+socket)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd, socket
}

// dial waits for the server to listen.
func dial(t *testing.T, socket string) net.Conn {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		c, err := net.Dial("unix", socket)
		if err == nil {
			t.Cleanup(func() { c.Close() })
			if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			return c
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func roundTrip(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("echo of %q: %q, %v", text, got, err)
	}
}

func TestEchoesUntilTheClientEnds(t *testing.T) {
	t.Parallel()
	_, socket := start(t)
	c := dial(t, socket)
	payload := bytes.Repeat([]byte("0123456789"), 100_000)
	go func() { // ends with the write
		_, _ = c.Write(payload)
		_ = c.(*net.UnixConn).CloseWrite()
	}()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, payload) {
		t.Errorf("%d bytes came back of %d, %v", len(got), len(payload), err)
	}
}

func TestEndsWhenItsClientsHave(t *testing.T) {
	t.Parallel()
	cmd, socket := start(t)
	c := dial(t, socket)
	roundTrip(t, c, "before")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for { // until the intake has stopped
		other, err := net.Dial("unix", socket)
		if err != nil {
			break
		}
		other.Close()
		if time.Now().After(deadline) {
			t.Fatal("it goes on accepting")
		}
		<-time.After(time.Millisecond)
	}
	roundTrip(t, c, "while it drains")
	c.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("exit status: %v", err)
	}
	if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket's file is left: %v", err)
	}
}
