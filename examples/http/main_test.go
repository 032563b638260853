package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// start builds the example and runs it alone, on a Unix socket.
func start(t *testing.T, args ...string) (*exec.Cmd, *http.Client) {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "http")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("cannot build: %v\n%s", err, out)
	}
	socket := filepath.Join(dir, "s")
	cmd := exec.Command(binary, append(args, "-listen", "http=unix://"+socket)...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	deadline := time.Now().Add(10 * time.Second)
	for {
		response, err := client.Get("http://x/")
		if err == nil {
			response.Body.Close()
			return cmd, client
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not serve: %v", err)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func get(client *http.Client, path string) (string, error) {
	response, err := client.Get("http://x" + path)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	if response.StatusCode != 200 || response.Header.Get("X-Generation") != "0" {
		return "", fmt.Errorf("status %s, header %v", response.Status, response.Header)
	}
	return string(body), nil
}

func TestServesAndEndsWithoutLoss(t *testing.T) {
	t.Parallel()
	cmd, client := start(t, "-version", "test")
	want := fmt.Sprintf("generation 0, pid %d, version test\n", cmd.Process.Pid)
	if body, err := get(client, "/"); body != want || err != nil {
		t.Errorf("%q, %v; want %q", body, err, want)
	}
	var clients sync.WaitGroup
	clients.Go(func() {
		if body, err := get(client, "/slow?ms=1000"); body != "slow\n" || err != nil {
			t.Errorf("the slow request: %q, %v", body, err)
		}
	})
	response, err := client.Get("http://x/stream?n=20&every=50ms")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	load(t, &clients, client, cmd)
	body, err := io.ReadAll(response.Body)
	if err != nil || !strings.HasSuffix(string(body), "line 20 of a generation that drains\n") {
		t.Errorf("the stream: %q, %v", body, err)
	}
	clients.Wait()
	if err := cmd.Wait(); err != nil {
		t.Errorf("exit status: %v", err)
	}
}

// load posts from keep-alive clients, sends SIGTERM in the midst of it, and goes
// on until new connections are refused: a server that runs alone and ends must
// refuse, but answer everything that it took.
func load(t *testing.T, clients *sync.WaitGroup, client *http.Client, cmd *exec.Cmd) {
	t.Helper()
	const enough = 200
	var ok atomic.Int64
	reached := make(chan struct{})
	for range 4 {
		clients.Go(func() {
			body := []byte(strings.Repeat("body", 100))
			for {
				response, err := client.Post("http://x/echo", "text/plain", io.MultiReader(bytes.NewReader(body)))
				if err != nil && strings.Contains(err.Error(), "dial unix") {
					return
				}
				if err != nil {
					t.Errorf("after %d requests: %v", ok.Load(), err)
					return
				}
				got, err := io.ReadAll(response.Body)
				response.Body.Close()
				if err != nil || !bytes.Equal(got, body) {
					t.Errorf("echo of %d bytes, %v", len(got), err)
				}
				if ok.Add(1) == enough {
					close(reached)
				}
			}
		})
	}
	select {
	case <-reached:
	case <-time.After(20 * time.Second):
		t.Fatal("the load does not get on")
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { t.Logf("%d requests answered", ok.Load()) })
}

func TestRefusesWhatItDoesNotUnderstand(t *testing.T) {
	t.Parallel()
	_, client := start(t)
	for _, path := range []string{"/slow", "/slow?ms=-1", "/stream?n=x&every=1s", "/stream?n=1&every=0s", "/nothing"} {
		response, err := client.Get("http://x" + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode/100 != 4 {
			t.Errorf("%s: status %s", path, response.Status)
		}
	}
}
