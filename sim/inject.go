package sim

import (
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
)

// schedule puts the faults on the queue, and the heal.
func (w *world) schedule() {
	for i := range w.opts.Faults {
		f := &w.opts.Faults[i]
		w.q.at(bft.Time(f.At), func() { w.begin(f) })
		if f.Kind == DiskLoss {
			w.q.at(bft.Time(f.At)/2, func() { w.each(f, func(h *host) { h.older = &disk{}; h.older.become(h.disk) }) })
		}
		if !f.permanent() {
			w.q.at(bft.Time(f.Until), func() { w.end(f) })
		}
	}
	w.q.at(bft.Time(w.opts.Heal), w.heal)
}

// cell is a class of failure and a duration.
type cell struct {
	class Class
	lasts Persistence
}

// injected counts that a fault has really hit.
func (w *world) injected(f *Fault) { w.inflicted[cell{f.Class(), f.Persistence()}]++ }

// each does something to all instances of the fault's targets.
func (w *world) each(f *Fault, do func(h *host)) {
	for _, h := range w.hosts {
		if slices.Contains(f.targets(w.n), h.id) {
			do(h)
		}
	}
}

func (w *world) begin(f *Fault) {
	w.trace.note(w.q.now, KindFault, -1, -1, func() string { return "begins: " + f.String() })
	w.stats.Faults++
	w.activate(f, true)
	if f.permanent() && f.counts() {
		w.each(f, func(h *host) { h.impaired = true })
	}
	switch f.Kind {
	case Crash, Blackout, DiskLoss:
		w.each(f, func(h *host) { w.crashBy(h, f) })
	case CrashLoop:
		w.each(f, func(h *host) { h.loop(f) })
	case CrashOn:
		w.each(f, func(h *host) { h.armed = f })
	case Pause:
		w.injected(f)
		w.each(f, func(h *host) { h.pause(bft.Time(f.Until)) })
	case Cut, CutFrom, CutTo, Lossy, SendOmission, ReceiveOmission, Late, Jitter, Dawdle:
		w.net.begin(f)
		if f.Kind == Jitter {
			w.each(f, func(h *host) { h.disk.slow++ })
		}
	case ClockJump:
		w.injected(f)
		w.each(f, func(h *host) { h.skew += 3600 * bft.Second })
	case Drift:
		w.injected(f)
		w.each(f, func(h *host) { h.drift = w.q.now })
	case SlowDisk:
		w.injected(f)
		w.each(f, func(h *host) { h.disk.slow++ })
	case SlowMachine:
		w.injected(f)
		w.each(f, func(h *host) { h.slow++ })
	}
}

func (w *world) end(f *Fault) {
	w.trace.note(w.q.now, KindFault, -1, -1, func() string { return "ends: " + f.String() })
	w.activate(f, false)
	switch f.Kind {
	case Crash, Blackout:
		w.each(f, func(h *host) { h.start() })
	case CrashOn, CrashLoop:
		w.each(f, func(h *host) {
			if h.armed == f {
				h.armed = nil
			}
			h.start()
		})
	case Cut, CutFrom, CutTo, Lossy, SendOmission, ReceiveOmission, Late, Jitter:
		w.net.end(f)
		if f.Kind == Jitter {
			w.each(f, func(h *host) { h.disk.slow-- })
		}
	case ClockJump:
		w.each(f, func(h *host) { h.skew -= 3600 * bft.Second })
	case SlowDisk:
		w.each(f, func(h *host) { h.disk.slow-- })
	case SlowMachine:
		w.each(f, func(h *host) { h.slow-- })
	case Pause:
		// The process goes on by itself, see host.pause.
	}
}

// crashBy crashes a replica, and takes from its disk what the fault takes.
func (w *world) crashBy(h *host, f *Fault) {
	if !h.up {
		return
	}
	w.injected(f)
	h.crash()
	switch {
	case f.Kind == DiskLoss:
		h.lose(f.On)
		timeout := bft.Time(w.opts.Protocol.RequestTimeout)
		w.q.after(between(h.r, timeout/10, 2*timeout), h.start)
	case f.permanent():
		h.gone = true
	}
}

// loop crashes a replica again and again: now and then so soon that it has not come back to what the
// others know.
func (h *host) loop(f *Fault) {
	if h.w.q.now >= bft.Time(f.Until) {
		return
	}
	h.w.crashBy(h, f)
	h.w.q.after(between(h.r, bft.Millisecond, bft.Time(f.Every)), func() {
		if h.w.q.now < bft.Time(f.Until) {
			h.start()
		}
	})
	h.w.q.after(between(h.r, bft.Time(f.Every), 2*bft.Time(f.Every)), func() { h.loop(f) })
}
