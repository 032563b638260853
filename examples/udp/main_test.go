package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestUpgradesAnswerEveryDatagram asks one question after the other while the
// program upgrades itself three times.
func TestUpgradesAnswerEveryDatagram(t *testing.T) {
	t.Parallel()
	first, lines := start(t)
	conn, err := net.Dial("udp", await(t, lines, `address=(\S+)`))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	await(t, lines, `(ready) generation`)
	pid := first.Process.Pid
	count := 0
	for range 3 {
		if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		for old := fmt.Sprint("process ", pid); ; count++ {
			answer, err := ask(conn, count)
			if err != nil {
				t.Fatalf("question %d: %v", count, err)
			}
			if !strings.HasSuffix(answer, old) {
				break
			}
		}
		if pid, err = strconv.Atoi(await(t, lines, `upgraded pid=(\d+)`)); err != nil {
			t.Fatal(err)
		}
		await(t, lines, `(drained)`)
	}
	t.Logf("%d answers", count)
	if err := first.Wait(); err != nil {
		t.Errorf("exit status: %v", err)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	await(t, lines, `(drained)`)
}

func ask(conn net.Conn, number int) (string, error) {
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	question := fmt.Sprint("question ", number)
	if _, err := conn.Write([]byte(question)); err != nil {
		return "", err
	}
	b := make([]byte, 100)
	n, err := conn.Read(b)
	if err == nil && !strings.HasPrefix(string(b[:n]), question+",") {
		err = fmt.Errorf("the answer is %q", b[:n])
	}
	return string(b[:n]), err
}

// start builds the example and runs it alone. lines are those of its log, closed
// when all its processes have ended.
func start(t *testing.T) (cmd *exec.Cmd, lines <-chan string) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "udp")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("cannot build: %v\n%s", err, out)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(binary, "-listen", "udp=udp://127.0.0.1:0")
	cmd.Stderr = write
	err = cmd.Start()
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	all := make(chan string, 1000)
	go func() { // joined below
		defer close(all)
		defer read.Close()
		for lines := bufio.NewScanner(read); lines.Scan(); {
			all <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		for line := range all {
			t.Log(line)
		}
	})
	return cmd, all
}

// await returns what the next line that matches has.
func await(t *testing.T, lines <-chan string, pattern string) string {
	t.Helper()
	want := regexp.MustCompile(pattern)
	late := time.After(20 * time.Second)
	for {
		select {
		case line, ok := <-lines:
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
