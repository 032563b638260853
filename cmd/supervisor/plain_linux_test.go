package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// plain is a program that knows nothing of this project: it takes its listener as
// one of the other protocols has it, and what it does on a signal is up to it.
func plain() {
	var (
		exit  = flag.Int("exit", -1, "exit with this `STATUS` at once")
		hang  = flag.Bool("hang", false, "never get ready")
		deaf  = flag.Bool("deaf", false, "accept nothing")
		after = flag.Duration("crash-after", 0, "crash when it has run for this `TIME`")
		kill  = flag.Duration("kill-after", 0, "die of SIGKILL when it has run for this `TIME`")
		leave = flag.Duration("stopping-after", 0, "say that it stops when it has run for this `TIME`")
	)
	feeds := flag.Duration("feeds", 0, "feed the watchdog for this `TIME`")
	asks := flag.String("asks", "", "say these `WORDS` to who watches")
	stubborn := flag.Bool("stubborn", false, "hear no signal")
	dies := flag.Bool("dies", false, "die of the signals that are not heard")
	below := flag.Bool("below", false, "leave the work to a process below")
	flag.Parse()
	if *below {
		delegates()
	}
	if *exit >= 0 {
		os.Exit(*exit)
	}
	l, err := inherited()
	if err != nil {
		fmt.Fprintln(os.Stderr, "plain:", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGUSR2)
	defer stop()
	if *stubborn || *dies {
		ctx = context.Background()
		stop()
	}
	if *stubborn {
		signal.Ignore(syscall.SIGTERM, syscall.SIGABRT)
	}
	if !*hang {
		saysReady()
	}
	if *asks != "" {
		says("unixgram", os.Getenv("NOTIFY_SOCKET"), *asks)
	}
	if *feeds > 0 {
		go feed(*feeds) // for as long as the program runs
	}
	if *after > 0 {
		time.AfterFunc(*after, func() { os.Exit(7) })
	}
	if *kill > 0 {
		time.AfterFunc(*kill, func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) })
	}
	if *leave > 0 {
		time.AfterFunc(*leave, func() { says("unixgram", os.Getenv("NOTIFY_SOCKET"), "STOPPING=1") })
	}
	if *deaf {
		<-ctx.Done()
		return
	}
	answers(ctx, l)
}

// feed feeds the watchdog that the environment speaks of, and then no more.
func feed(long time.Duration) {
	usec, err := strconv.Atoi(os.Getenv("WATCHDOG_USEC"))
	if err != nil || os.Getenv("WATCHDOG_PID") != strconv.Itoa(os.Getpid()) {
		fmt.Fprintln(os.Stderr, "plain: nobody wants to be fed:", err)
		os.Exit(1)
	}
	tick := time.NewTicker(time.Duration(usec) * time.Microsecond / 8)
	for end := time.Now().Add(long); time.Now().Before(end); <-tick.C {
		says("unixgram", os.Getenv("NOTIFY_SOCKET"), "WATCHDOG=1")
	}
}

// delegates has a process of its own do all the work, passes SIGTERM on to it, and ends
// as it does.
func delegates() {
	args := slices.DeleteFunc(os.Args, func(a string) bool { return a == "-below" })
	pid, err := syscall.ForkExec("/proc/self/exe", args, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2, 3}})
	if err != nil {
		fmt.Fprintln(os.Stderr, "plain:", err)
		os.Exit(1)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() { // for as long as there is anything to wait for
		for range signals {
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
	}()
	var status syscall.WaitStatus
	_, _ = syscall.Wait4(pid, &status, 0, nil)
	os.Exit(status.ExitStatus())
}

// inherited is the first listener that the environment speaks of.
func inherited() (net.Listener, error) {
	number := "3"
	switch pid := os.Getenv("LISTEN_PID"); {
	case pid != "" && pid != strconv.Itoa(os.Getpid()):
		return nil, fmt.Errorf("LISTEN_PID=%s is not %d", pid, os.Getpid())
	case os.Getenv("EINHORN_FD_0") != "":
		number = os.Getenv("EINHORN_FD_0")
	case os.Getenv("SERVER_STARTER_PORT") != "":
		_, number, _ = strings.Cut(os.Getenv("SERVER_STARTER_PORT"), "=")
	case os.Getenv("NGINX") != "":
		number = strings.TrimRight(os.Getenv("NGINX"), ";")
	}
	fd, err := strconv.Atoi(number)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	return net.FileListener(f)
}

// saysReady says so where the environment has somebody to hear it.
func saysReady() {
	if path := os.Getenv("NOTIFY_SOCKET"); path != "" {
		says("unixgram", path, "STATUS=all is well\nREADY=1\n")
	}
	if path := os.Getenv("EINHORN_SOCK_PATH"); path != "" {
		says("unix", path, fmt.Sprintf("%%7B%%22command%%22%%3A%%22worker%%3Aack%%22%%2C%%22pid%%22%%3A%d%%7D\n", os.Getpid()))
	}
}

// says says something to whoever started this program.
func says(network, path, words string) {
	conn, err := net.Dial(network, path)
	if err == nil {
		_, err = io.WriteString(conn, words)
		conn.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "plain:", err)
		os.Exit(1)
	}
}

// answers echoes one request on each connection until ctx is done, and then
// finishes what it has accepted: it loses nothing.
func answers(ctx context.Context, l net.Listener) {
	context.AfterFunc(ctx, func() { l.Close() })
	var serving sync.WaitGroup
	defer serving.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		serving.Go(func() {
			defer conn.Close()
			r, err := http.ReadRequest(bufio.NewReader(conn))
			if err != nil {
				return
			}
			body, err := io.ReadAll(r.Body)
			if err == nil {
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			}
		})
	}
}
