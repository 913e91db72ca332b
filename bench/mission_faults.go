package bench

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app/counter"
	"github.com/baluarte-bft/baluarte/node/client"
	"github.com/baluarte-bft/baluarte/sim"
)

// missionFault is a fault that is to happen.
type missionFault struct {
	class     sim.Class
	what      string
	replica   int
	at, until time.Duration
	delay     time.Duration // of a slow link
}

// What is done to a replica.
const (
	doKill = "kill"
	doStop = "stop and continue"
	doSlow = "slow links"
	doMute = "loss of what it sends"
	doDeaf = "loss of what it receives"
)

// doings are what can be done, by the class of the fault.
var doings = map[sim.Class][]string{
	sim.ClassCrash: {doKill}, sim.ClassTiming: {doStop, doSlow}, sim.ClassSendOmission: {doMute}, sim.ClassReceiveOmission: {doDeaf},
}

// drawMission draws the faults of a mission, one after the other; all end within its time.
func drawMission(o *MissionOptions) (all []missionFault) {
	r := rand.New(rand.NewPCG(o.Seed, o.Seed))
	draw := func(mean time.Duration) time.Duration {
		return min(time.Duration(r.ExpFloat64()*float64(mean)), maxLasting*mean).Round(time.Millisecond)
	}
	for at := draw(o.Every); ; at += draw(o.Every) {
		f := missionFault{class: o.Classes[r.IntN(len(o.Classes))], replica: r.IntN(o.Nodes), at: at}
		what := doings[f.class]
		f.what, f.delay = what[r.IntN(len(what))], (100+time.Duration(r.IntN(900)))*time.Millisecond
		f.until = at + max(shortestMean, draw(o.For))
		if f.until >= o.Time {
			return all
		}
		all = append(all, f)
		at = f.until
	}
}

// begin has the fault begin.
func (f *missionFault) begin(x *nodes) error {
	switch f.what {
	case doKill:
		return x.kill(f.replica)
	case doStop:
		return x.pause(f.replica, true)
	case doSlow:
		x.links.set(func(i, j int) time.Duration {
			if i == f.replica || j == f.replica {
				return f.delay
			}
			return 0
		})
	case doMute:
		x.links.lose(f.replica, true, false)
	case doDeaf:
		x.links.lose(f.replica, false, true)
	}
	return nil
}

// end ends it.
func (f *missionFault) end(x *nodes) error {
	switch f.what {
	case doKill:
		return x.start(f.replica)
	case doStop:
		return x.pause(f.replica, false)
	case doSlow:
		x.links.set(func(int, int) time.Duration { return 0 })
	default:
		x.links.lose(f.replica, false, false)
	}
	return nil
}

// lose has all lost that place i sends, or that it receives, or neither any more.
func (l *links) lose(i int, sent, received bool) {
	for from, row := range l.proxies {
		for to, p := range row {
			switch {
			case p == nil:
			case from == i:
				p.Lose(sent, received)
			case to == i:
				p.Lose(received, sent)
			}
		}
	}
}

// missionCaller calls, one call after the other, each until it is answered. But for progress it is of one goroutine at a time.
type missionCaller struct {
	service  *client.Service
	answers  uint64
	unknown  uint64
	wrong    int
	value    int64 // that it was told last
	failures []sim.Stretch
	progress atomic.Uint64
}

// callAll has all callers call until over is closed, and their last calls end, or ctx does.
func callAll(ctx context.Context, callers []*missionCaller, begin time.Time, o *MissionOptions, over <-chan struct{}) {
	var wg sync.WaitGroup
	for _, x := range callers {
		wg.Go(func() {
			for {
				from := time.Since(begin)
				err := x.call(ctx)
				x.waited(from, time.Since(begin), o)
				if err != nil {
					return
				}
				select {
				case <-time.After(o.Think):
				case <-over:
					return
				case <-ctx.Done():
					return
				}
			}
		})
	}
	wg.Wait()
}

// call adds one to the counter, and does not give up until ctx ends. What it is told must be more each time.
func (x *missionCaller) call(ctx context.Context) error {
	for {
		result, err := x.service.Invoke(ctx, counter.Add(1))
		if err == nil {
			x.answers++
			x.progress.Add(1)
			value, err := counter.DecodeValue(result)
			if err != nil || value <= x.value {
				x.wrong++
			}
			x.value = max(x.value, value)
			return nil
		}
		if !errors.Is(err, bft.ErrNotSubmitted) && !errors.Is(err, bft.ErrRejected) {
			x.unknown++
		}
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// waited notes how long an answer took, as far as it is within the time of the mission.
func (x *missionCaller) waited(from, till time.Duration, o *MissionOptions) {
	wait := sim.Stretch{From: sim.Duration(from), Till: sim.Duration(min(till, o.Time))}
	if missed, ok := sim.Missed(wait, sim.Duration(o.Within)); ok {
		x.failures = append(x.failures, missed)
	}
}
