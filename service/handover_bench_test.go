package service

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"testing"
	"time"
)

// BenchmarkHandover hands one listening socket over 25 times while eight
// clients post as fast as they can, once with the drain of this package and
// once with http.Server.Shutdown, and tells how many requests were lost. Run it
// with -benchtime 1x.
func BenchmarkHandover(b *testing.B) {
	const generations, every = 25, 60 * time.Millisecond
	ways := map[string]func(*testing.B, func(addr string) (stop func())){
		"service": func(b *testing.B, clients func(string) func()) {
			f := supervise(b, tcpPort("http"))
			stop := clients(f.addr().String())
			last := handOver(f, generations, every, serveHTTPWith(func() *http.Server { return &http.Server{Handler: echoHandler()} }))
			stop()
			last.beginDrain(20*time.Second, true)
			last.drained()
		},
		"Shutdown": func(b *testing.B, clients func(string) func()) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			stop := clients(l.Addr().String())
			old := serveCopy(b, l.(*net.TCPListener))
			ticker := time.NewTicker(every)
			defer ticker.Stop()
			for range generations {
				<-ticker.C
				next := serveCopy(b, l.(*net.TCPListener))
				old()
				old = next
			}
			<-ticker.C
			stop()
			old()
		},
	}
	for _, way := range []string{"service", "Shutdown"} {
		for name, client := range map[string]func() *http.Client{"new": newConnections, "keep-alive": keepAlive} {
			b.Run(way+"/"+name, func(b *testing.B) {
				var ok, failed int64
				for b.Loop() {
					ways[way](b, func(addr string) func() {
						count, stop := load(8, func() poster { return poster{client(), "http://" + addr + "/echo", false} })
						return func() {
							stop()
							ok, failed = ok+count.ok.Load(), failed+count.failed.Load()
						}
					})
				}
				b.ReportMetric(float64(failed)/float64(b.N), "lost/op")
				b.ReportMetric(float64(ok)/float64(b.N), "answered/op")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// serveCopy serves a copy of l until it is called again, which shuts the
// server down in the ordinary way.
func serveCopy(b *testing.B, l *net.TCPListener) (shutdown func()) {
	b.Helper()
	file, err := l.File()
	if err != nil {
		b.Fatal(err)
	}
	defer func(f *os.File) { _ = f.Close() }(file)
	same, err := net.FileListener(file)
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: echoHandler()}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(same) }() // joined by shutdown
	return func() {
		if err := server.Shutdown(context.Background()); err != nil {
			b.Error(err)
		}
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			b.Error(err)
		}
	}
}
