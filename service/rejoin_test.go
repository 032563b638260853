package service

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/fdpass"
)

func serveOK(s *Service) error { return s.ServeHTTP("http", &http.Server{Handler: echoHandler()}) }

// TestKilledSupervisorsLoseNoRequest kills one supervisor after the other, none
// of which keeps a descriptor, while clients post as fast as they can; then the
// next generation takes over with what the old one gave back.
func TestKilledSupervisorsLoseNoRequest(t *testing.T) {
	t.Parallel()
	for name, client := range map[string]func() *http.Client{"new connections": newConnections, "keep-alive": keepAlive} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := supervise(t, tcpPort("http")).withRendezvous()
			c := f.start(Config{}, serveOK)
			url := "http://" + f.addr().String() + "/"
			want := f.listeners[0]
			for _, s := range f.sockets {
				s.Close()
			}
			count, stop := load(4, func() poster { return poster{client(), url, false} })
			for range 5 {
				c.dies()
				r := f.returns()
				said, ls := c.comesBack(t, f, r)
				r.Close()
				if !said.Ready || said.Draining || len(ls) != 1 || ls[0].Cookie != want.Cookie {
					t.Fatalf("came back as %+v with %v", said, ls)
				}
				f.listeners = ls
			}
			next := f.start(Config{}, serveOK)
			c.pause()
			c.beginDrain(20*time.Second, false)
			c.drained()
			stop()
			next.beginDrain(20*time.Second, true)
			next.drained()
			t.Logf("%d ok, %d failed", count.ok.Load(), count.failed.Load())
			if count.failed.Load() > 0 || count.ok.Load() < 20 {
				t.Errorf("failures: %v", count.reasons)
			}
		})
	}
}

func TestPausedServiceAcceptsUntilTheNextSupervisor(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("http")).withRendezvous()
	c := f.start(Config{IdleTimeout: 50 * time.Millisecond}, serveOK)
	c.pause()
	c.dies()
	client := newConnections()
	response, err := client.Post("http://"+f.addr().String(), "text/plain", strings.NewReader("alone"))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	said, _ := c.comesBack(t, f, f.returns())
	if !said.Ready || said.Generation != c.service.Generation() || said.PID != os.Getpid() || said.Library != "service/go" || len(said.Capabilities) != 4 {
		t.Errorf("came back as %+v", said)
	}
	c.pause()
	c.resume()
	c.beginDrain(time.Second, false)
	c.drained()
}

func TestEveryKindOfListenerIsGivenBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := supervise(t, tcpPort("http"), "dns=udp://127.0.0.1:0", "admin=unix://"+dir+"/a", "log=unixgram://"+dir+"/l", tcpPort("unused")).withRendezvous()
	f.listeners[0].Kept = true
	c := f.start(Config{}, func(s *Service) error {
		l, err := s.Listener("unused")
		return errors.Join(err, l.Close(), serveOK(s))
	})
	c.dies()
	_, ls := c.comesBack(t, f, f.returns())
	if len(ls) != 4 {
		t.Fatalf("got %v", ls)
	}
	for i, l := range ls {
		want := f.listeners[i]
		if l.FD = want.FD; l != want {
			t.Errorf("got %+v, want %+v", l, want)
		}
	}
}

func TestDrainGoesOnWithTheNextSupervisor(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("http")).withRendezvous()
	f.stats = 10 * time.Millisecond
	release := make(chan struct{})
	c := f.start(Config{}, func(s *Service) error {
		return s.Serve("http", func(context.Context, net.Conn) { <-release })
	})
	dial(t, f.addr())
	receiveStats(c, func() bool { return c.stats["http"].Active == 1 })
	c.beginDrain(20*time.Second, false)
	<-c.service.Draining()
	c.dies()
	r := f.returns()
	said, ls := c.comesBack(t, f, r)
	if !said.Draining || !said.Ready || len(ls) > 1 {
		t.Errorf("came back as %+v with %v", said, ls)
	}
	c.dies()
	eventually(t, "the listener is closed", func() bool { return isClosed(c.service.endpoints[0].listener.closed) })
	if said, ls = c.comesBack(t, f, r); !said.Draining || len(ls) != 0 {
		t.Errorf("came back again as %+v with %v", said, ls)
	}
	c.nextID = 40
	c.beginDrain(20*time.Second, false)
	eventually(t, "the order has come", func() bool {
		d := &c.service.drain
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.asked[len(d.asked)-1].id == c.nextID
	})
	close(release)
	if m := c.drained(); m.Accepted != 1 || m.Cut != 0 {
		t.Errorf("got %+v", m)
	}
}

// A generation that drained while nobody heard it says so when it is asked, and
// what the old supervisor asked is not answered.
func TestDrainedIsToldToTheNextSupervisor(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("http")).withRendezvous()
	finish, cleaning := make(chan struct{}), make(chan struct{})
	c := f.start(Config{}, func(s *Service) error {
		s.OnCleanup("slow", func(context.Context) error {
			close(cleaning)
			<-finish
			return nil
		})
		return serveOK(s)
	})
	c.beginDrain(20*time.Second, false)
	c.dies()
	<-cleaning
	said, ls := c.comesBack(t, f, f.returns())
	if !said.Draining || len(ls) != 0 {
		t.Errorf("came back as %+v with %v", said, ls)
	}
	c.nextID = 7
	c.beginDrain(20*time.Second, false)
	if m := expect[fdpass.Drained](c); m.ID != 8 {
		t.Errorf("got %+v", m)
	}
	close(finish)
	if err := <-c.ended; err != nil {
		t.Error(err)
	}
}

func TestReadyIsSaidToTheNextSupervisor(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("http")).withRendezvous()
	t.Run("once it is", func(t *testing.T) {
		c := f.join(Config{})
		if err := serveOK(c.service); err != nil {
			t.Fatal(err)
		}
		c.dies()
		r := f.returns()
		if said, _ := c.comesBack(t, f, r); said.Ready {
			t.Error("came back as ready")
		}
		r.Close()
		c.run()
		expectReady(c)
	})
	t.Run("though nobody heard it", func(t *testing.T) {
		c := f.join(Config{})
		if err := serveOK(c.service); err != nil {
			t.Fatal(err)
		}
		c.dies()
		eventually(t, "the end of the channel is seen", c.service.control.gone)
		if err := c.service.Ready(); err != nil {
			t.Error(err)
		}
		if said, _ := c.comesBack(t, f, f.returns()); !said.Ready {
			t.Error("came back as not ready")
		}
		c.run()
		c.pause() // nothing is said before paused
	})
}

func TestFailureIsSaidToTheNextSupervisor(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("http")).withRendezvous()
	c := f.start(Config{Logger: new(logBook).logger()}, serveOK)
	c.dies()
	c.service.Fail(errors.New("the disk is full"))
	c.comesBack(t, f, f.returns())
	if m := expect[fdpass.Failed](c); m.Reason != "the disk is full" {
		t.Errorf("got %+v", m)
	}
}

// TestOddSupervisors: what comes in the way of a rejoin only delays it, and is
// logged once. The token is never logged.
func TestOddSupervisors(t *testing.T) {
	t.Parallel()
	refuse := func(c *fdpass.Conn, reason string) error {
		_, _, err := fdpass.TakeBack(c, func(fdpass.Rejoin) (fdpass.Welcome, error) {
			return fdpass.Welcome{}, errors.New(reason)
		})
		return err
	}
	hearOut := func(c *fdpass.Conn) error {
		for {
			_, fds, err := c.Receive()
			if err != nil {
				return err
			}
			for _, fd := range fds {
				closeFD(fd)
			}
		}
	}
	for _, test := range []struct {
		name string
		does func(*fdpass.Conn) error
		log  string
		most int // reasons, as many as there are moments
	}{
		{"refuses", func(c *fdpass.Conn) error { return refuse(c, "not today") }, "not today", 1},
		{"leaves at once", func(*fdpass.Conn) error { return nil }, "the peer closed the channel", 2},
		{"leaves in the middle", func(c *fdpass.Conn) error { _, _, err := c.Receive(); return err }, "the peer closed the channel", 2},
		{"says something else", func(c *fdpass.Conn) error { return errors.Join(c.Send(fdpass.Pause{ID: 1}), hearOut(c)) }, "it came where received was due", 1},
		{"floods", func(c *fdpass.Conn) error {
			for c.Send(fdpass.Pause{ID: 1}) == nil {
			}
			return hearOut(c)
		}, "it came where received was due", 1},
		{"takes it for another", func(c *fdpass.Conn) error {
			_, ls, _ := fdpass.TakeBack(c, func(r fdpass.Rejoin) (fdpass.Welcome, error) {
				return fdpass.Welcome{Service: "test", Generation: r.Generation + 1}, nil
			})
			closeGiven(ls)
			return hearOut(c)
		}, "it is for generation 2", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := supervise(t, tcpPort("http")).withRendezvous()
			var book logBook
			c := f.start(Config{Logger: book.logger()}, serveOK)
			c.dies()
			r := f.returns()
			for range 2 {
				odd := visit(t, r)
				_ = test.does(odd)
				odd.Close()
			}
			c.comesBack(t, f, r)
			c.pause()
			c.beginDrain(time.Second, false)
			c.drained()
			if n := book.count(test.log); n < 1 || n > test.most {
				t.Errorf("logged %d times: %s", n, book.text.String())
			}
			if n := book.count(testToken(1)); n != 0 {
				t.Errorf("the token is logged: %s", book.text.String())
			}
			if book.count("msg=rejoined") != 1 {
				t.Errorf("not logged: %s", book.text.String())
			}
		})
	}
}

// TestWelcomeOfTheNextSupervisorCounts: the rendezvous and the token may be new.
func TestWelcomeOfTheNextSupervisorCounts(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("http")).withRendezvous()
	c := f.start(Config{}, serveOK)
	c.dies()
	conn := visit(t, f.returns())
	elsewhere := filepath.Join(filepath.Dir(f.rendezvous), "other")
	_, ls, err := fdpass.TakeBack(conn, func(r fdpass.Rejoin) (fdpass.Welcome, error) {
		w, err := f.admit(r)
		w.Rendezvous, w.Token = elsewhere, "ab"+testToken(77)
		return w, err
	})
	if err != nil {
		t.Fatal(err)
	}
	closeGiven(ls)
	f.rendezvous = elsewhere
	r := f.returns()
	conn.Close()
	said, ls, err := fdpass.TakeBack(visit(t, r), f.admit)
	if err == nil || !strings.Contains(err.Error(), "does not know its token") || !said.Proves("ab"+testToken(77)) {
		t.Errorf("got %+v, %v, %v", said, ls, err)
	}
}

// TestDismissedServiceDrainsAndEnds: it finishes what it has, and asks nobody again.
func TestDismissedServiceDrainsAndEnds(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("http")).withRendezvous()
	var book logBook
	release := make(chan struct{})
	c := f.start(Config{Logger: book.logger()}, func(s *Service) error {
		return s.Serve("http", func(context.Context, net.Conn) { <-release })
	})
	dial(t, f.addr())
	eventually(t, "the client is served", func() bool { return c.service.accepted() == 1 })
	c.dies()
	conn := visit(t, f.returns())
	_, _, err := fdpass.TakeBack(conn, func(fdpass.Rejoin) (fdpass.Welcome, error) {
		return fdpass.Welcome{}, &fdpass.Dismissal{Reason: "others serve"}
	})
	if err == nil {
		t.Error("no error")
	}
	conn.Close()
	<-c.service.Draining()
	select {
	case err := <-c.ended:
		t.Fatalf("it has ended with a client: %v", err)
	default:
	}
	close(release)
	if err := <-c.ended; err != nil {
		t.Error(err)
	}
	if book.count("others serve") != 1 || book.count("dismissed: another supervisor serves") != 1 {
		t.Errorf("logged: %s", book.text.String())
	}
}

func TestServiceEndsWhileItWaitsForTheNextSupervisor(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("http")).withRendezvous()
	for name, wait := range map[string]func(r *fdpass.Rendezvous){
		"that is not there":        func(r *fdpass.Rendezvous) { r.Close() },
		"that does not answer":     func(r *fdpass.Rendezvous) { visit(t, r) },
		"that stops in the middle": func(r *fdpass.Rendezvous) { _, _, _ = visit(t, r).Receive() },
	} {
		t.Run(name, func(t *testing.T) {
			c := f.start(Config{}, serveOK)
			r := f.returns()
			c.dies()
			wait(r)
			start := time.Now()
			c.cancel()
			if err := <-c.ended; err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			r.Close()
		})
	}
}

// TestStoppedServiceEnds: the folder of the rendezvous goes only when the
// service is stopped.
func TestStoppedServiceEnds(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("http")).withRendezvous()
	var book logBook
	c := f.start(Config{Logger: book.logger()}, serveOK)
	if err := os.RemoveAll(filepath.Dir(f.rendezvous)); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	c.dies()
	if err := <-c.ended; err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took < time.Second || took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if _, _, final := c.service.drain.now(); !final || book.count("the folder of the supervisor is gone") != 1 {
		t.Errorf("final %v: %s", final, book.text.String())
	}
}

// Nothing is said about a rendezvous that the supervisor does not name.
func TestSupervisorWithoutRendezvous(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("http"))
	c := f.start(Config{}, serveOK)
	c.dies()
	eventually(t, "the end of the channel is seen", c.service.control.gone)
	c.service.control.running.Wait()
	c.cancel()
	if err := <-c.ended; err != nil {
		t.Error(err)
	}
}

// TestWhoHasBeenLeftAloneDrainsFinally: a service whose supervisor is gone is the
// last to take what is queued; one whose channel was closed by a supervisor that
// lives is not, and takes nothing any more.
func TestWhoHasBeenLeftAloneDrainsFinally(t *testing.T) {
	t.Parallel()
	for _, alone := range []bool{true, false} {
		f := supervise(t, tcpPort("echo")).withRendezvous()
		if !alone {
			f.returns()
		}
		c := f.start(Config{}, serveEcho)
		session := c.service.control.now()
		c.dies()
		<-session.ended
		c.cancel()
		if err := <-c.ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if _, _, final := c.service.drain.now(); final != alone {
			t.Errorf("the drain of a service that was left alone (%v) is final: %v", alone, final)
		}
	}
}
