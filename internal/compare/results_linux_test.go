package compare

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// results are what a comparison found.
type results struct {
	pace     pace
	upgrades int // of each peer
	rounds   int
	peers    []peer            // that were run
	missing  []string          // why others were not, in a sentence each
	versions map[string]string // by title
	tallies  map[string]*tally
	offers   map[string]map[string]offer // by fault, by title
	undone   map[string]offer            // by fault: many, of this project
	startUp  float64                     // of the service alone, in milliseconds
	took     time.Duration
}

// measure runs the whole comparison. Rounds go from peer to peer, so that what else
// the machine does hits all.
func measure(t *testing.T, all []peer, p pace, upgrades, rounds int) *results {
	began := time.Now()
	r := &results{
		pace: p, upgrades: upgrades, rounds: rounds, versions: map[string]string{}, tallies: map[string]*tally{},
		offers: map[string]map[string]offer{}, undone: map[string]offer{},
	}
	for _, who := range all {
		if why := who.missing(); why != "" {
			r.missing = append(r.missing, who.title()+" was not run: "+why+".")
			continue
		}
		r.peers = append(r.peers, who)
		r.versions[who.title()] = who.version(t)
		r.tallies[who.title()] = newTally()
	}
	r.startUp = startsUp(t, all[0].(ours).server, p)
	for i := range rounds {
		times := (i+1)*upgrades/rounds - i*upgrades/rounds
		for _, who := range r.peers {
			t.Run("upgrades/"+who.title(), func(t *testing.T) { p.upgrades(t, who, times, r.tallies[who.title()]) })
		}
	}
	for _, f := range faults() {
		r.offers[f.title] = map[string]offer{}
		for _, who := range r.peers {
			t.Run(f.title+"/"+who.title(), func(t *testing.T) { r.offers[f.title][who.title()] = p.brief().offer(t, who, f, 1) })
		}
		if f.late {
			t.Run(f.title+"/again and again", func(t *testing.T) { r.undone[f.title] = p.brief().offer(t, watchedOf(r.peers), f, repetitions) })
		}
	}
	r.took = time.Since(began)
	return r
}

// repetitions are how often this project undoes each fault, for the times of it.
const repetitions = 12

// watchedOf is this project as it is by default.
func watchedOf(all []peer) peer {
	for _, p := range all {
		if o, is := p.(ours); is && o.watched {
			return p
		}
	}
	return nil
}

// startsUp measures how long the service takes by itself from the start of its
// process until it is ready: the median of some.
func startsUp(tb testing.TB, server string, p pace) float64 {
	tb.Helper()
	var all []float64
	for range 11 {
		s := newSite(tb, server)
		s.release(p.release(1))
		file := filepath.Join(s.dir, "pid")
		began := time.Now()
		one := s.start(server, "-by", "plain", "-settings", s.settings(), "-listen", s.at, "-pid-file", file)
		tick := time.NewTicker(100 * time.Microsecond)
		for late := began.Add(limit); ; {
			if _, err := os.Stat(file); err == nil {
				break
			}
			if time.Now().After(late) {
				tb.Fatal("the service does not get ready")
			}
			<-tick.C
		}
		tick.Stop()
		all = append(all, milliseconds(time.Since(began)))
		one.kill()
	}
	return quantile(all, 0.5)
}
