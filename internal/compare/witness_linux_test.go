package compare

import (
	"context"
	"net/http"
	"os"
	"time"
)

const (
	// glance is how often a witness asks.
	glance = 10 * time.Millisecond
	// steadily is for how long a version answers alone before its fault begins.
	steadily = 300 * time.Millisecond
	// obscurity is how long the version may take to be alone.
	obscurity = 10 * time.Second
)

// A watcher asks the service who it is, on connections of its own, and begins the
// fault of a version when that is alone.
type watcher struct {
	tripped chan time.Time // has one value: zero if it never was alone
	stop    context.CancelFunc
}

// witness begins to ask.
func witness(d deployment, r release) *watcher {
	ctx, cancel := context.WithTimeout(context.Background(), obscurity)
	w := &watcher{tripped: make(chan time.Time, 1), stop: cancel}
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: d.dial()}}
	go func() { // joined by wait
		w.tripped <- await(ctx, client, "http://"+d.address()+"/health", r)
	}()
	return w
}

// wait returns when the fault began, once it has, or zero.
func (w *watcher) wait() time.Time {
	defer w.stop()
	return <-w.tripped
}

// await asks until the version has been alone for long enough, and trips it.
func await(ctx context.Context, client *http.Client, url string, r release) time.Time {
	tick := time.NewTicker(glance)
	defer tick.Stop()
	var since time.Time // it has been alone
	for {
		switch by := answers(ctx, client, url); {
		case by != r.Version:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) >= steadily:
			if err := os.WriteFile(r.Trigger, nil, 0o644); err != nil {
				return time.Time{}
			}
			return time.Now()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return time.Time{}
		}
	}
}

// answers is the version that answers; "" if none does.
func answers(ctx context.Context, client *http.Client, url string) string {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return ""
	}
	answer, err := client.Do(request)
	if err != nil {
		return ""
	}
	_ = answer.Body.Close()
	return answer.Header.Get("X-Generation")
}
