package load

import (
	"bufio"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// serverEnv makes the test binary a server that prints its address.
const serverEnv = "LOAD_TEST_SERVER"

func serveUntilStdinEnds() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(l, handler()) // ends with the process
	os.Stdout.WriteString(l.Addr().String() + "\n")
	bufio.NewReader(os.Stdin).ReadString('\n') //nolint:errcheck // EOF is the signal
	return 0
}

// BenchmarkEngine measures what the engine itself costs, with the server in
// another process: 1,000 new connections and 1,000 keep-alive requests a
// second. "cores" is CPU time by wall-clock time.
func BenchmarkEngine(b *testing.B) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serverEnv+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer cmd.Wait() //nolint:errcheck // ends with stdin
	defer stdin.Close()
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	// One second for each iteration.
	duration := time.Duration(b.N) * time.Second
	before := cpuTime(b)
	run, err := Start(b.Context(), Config{
		Target: "http://" + strings.TrimSpace(address), Duration: duration,
		Traffic: []Traffic{
			{Pattern: NewConnection, Rate: 1000, Path: "/echo", PayloadBytes: 64, Echo: true},
			{Pattern: KeepAlive, Clients: 50, Rate: 20, Path: "/echo", PayloadBytes: 64, Echo: true},
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	<-run.Done()
	used := cpuTime(b) - before
	report := run.Stop()
	if report.Failed > 0 || report.OK != report.Requests {
		b.Fatalf("%d requests, %d OK, %v", report.Requests, report.OK, report.FailedByKind)
	}
	b.ReportMetric(used.Seconds()/report.DurationSeconds, "cores")
	b.ReportMetric(float64(used.Microseconds())/float64(report.OK), "cpu-us/request")
	b.ReportMetric(report.Traffic[0].All.P50MS, "new-p50-ms")
	b.ReportMetric(report.Traffic[0].All.P99MS, "new-p99-ms")
	b.ReportMetric(report.StartLag.P99MS, "lag-p99-ms")
}

// cpuTime is the CPU time that this process has used.
func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
