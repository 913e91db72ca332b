package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/byz"
	"github.com/baluarte-bft/baluarte/sim/coverage"
	"github.com/baluarte-bft/baluarte/sim/meter"
)

// tickEvery is how often a host tells its replica the time, if nothing else happens.
const tickEvery = 10 * bft.Millisecond

// epochStart is the wall clock at the virtual time 0: agreed time is never 0 but in null proposals.
const epochStart = 1_700_000_000 * bft.Second

// host runs one replica in virtual time: what package node does with goroutines, it does with
// events. Whatever takes time, such as a signature or a sync, ends in an event of its own.
type host struct {
	w      *world
	at     endpoint
	id     bft.ReplicaID // of which there may be a twin
	r      *rand.Rand
	disk   *disk
	signer crypto.Signer
	skew   bft.Time
	// liar is set if the replica belongs to the adversary: it sees and alters all that passes.
	liar byz.Adversary
	lies *liar
	// drift is since when the wall clock runs too fast, 0 for never. impaired: a fault that stays has
	// hit; gone: it never comes back; unsound: it has lost promises, and nobody noticed.
	drift                   bft.Time
	impaired, gone, unsound bool
	// rotten: disk or state are not what the core made them, so that its own assertions may stop it.
	rotten bool
	// older is what the disk held at an earlier time, lostWhy what the host knows of a loss.
	older   *disk
	lostWhy string

	// armed is the fault that crashes this replica at certain messages.
	armed *Fault
	slow  int // faults that make executing slow

	// What follows is lost in a crash. life counts the starts, so that events of a past one do nothing.
	up      bool
	life    int
	paused  bft.Time // the process stands still until then
	replica *bft.Replica
	tracker *coverage.Tracker
	checker *bft.Checker
	exec    *executor
	due     bool // a turn is scheduled
	lastLSN bft.LSN
	// signFree, verifyFree and execFree are when the signer, the verifier and the executor will
	// have done what they were given.
	signFree, verifyFree, execFree bft.Time
	oath                           oath
	// replier is who shall answer in full, as each client last said.
	replier map[bft.ClientID]bft.ReplicaID
	// silent are the bundles that it shall not answer before their clients ask again.
	silent map[bft.Digest]struct{}
	reads  map[bft.ReadID]*waitingRead
	readID bft.ReadID
}

type waitingRead struct {
	client endpoint
	query  *bft.Query
}

func newHost(w *world, at endpoint, id bft.ReplicaID, signer crypto.Signer) *host {
	h := &host{w: w, at: at, id: id, r: stream(w.opts.Seed, fmt.Sprint("host ", at)), signer: signer}
	h.disk = newDisk(&w.q, &w.opts, stream(w.opts.Seed, fmt.Sprint("disk ", at)))
	h.skew = between(h.r, -bft.Time(w.opts.Machine.Skew), bft.Time(w.opts.Machine.Skew))
	return h
}

// honest tells whether the oracles hold this replica to its word.
func (h *host) honest() bool { return h.liar == nil && !h.unsound }

// tells tells whether what the adversary has just decided is carried out.
func (h *host) tells() bool { return h.lies.tells(h.liar.Told()) }

// lie is tells for what sends nothing: it counts it.
func (h *host) lie() bool {
	names := h.liar.Told()
	told := h.lies.tells(names)
	if told && len(names) > 0 {
		h.w.stats.Endured++
	}
	return told
}

// lose makes the disk what it was, or empty.
func (h *host) lose(what string) {
	h.impaired = true
	switch {
	case what == "empty" || h.older == nil:
		// The birth record is gone too, which a host notices: what peers still hold signed by the replica may not tell.
		h.disk.wipe()
		h.lostWhy = "the disk is empty"
	default:
		h.disk.become(h.older)
		if what == "older" {
			h.lostWhy = "the disk was restored from a copy"
		} else {
			h.unsound = true
		}
	}
	h.w.promises.lost(h.id)
}

// executed is how far a replica is, 0 if it is down.
func (h *host) executed() bft.Seq {
	if !h.up {
		return 0
	}
	return h.exec.machine.Executed()
}

// info is what the replica says of itself.
func (h *host) info() string {
	if !h.up {
		return "down"
	}
	return fmt.Sprintf("%+v", h.replica.Info())
}

// start starts the process on what its disk holds.
func (h *host) start() {
	if h.up || h.gone || h.w.lost[h.id] {
		return
	}
	h.life++
	h.up, h.due, h.paused = true, false, 0
	h.signFree, h.verifyFree, h.execFree = 0, 0, 0
	h.silent = make(map[bft.Digest]struct{})
	h.replier, h.reads = make(map[bft.ClientID]bft.ReplicaID), make(map[bft.ReadID]*waitingRead)
	exec, err := newExecutor(h)
	if err != nil {
		h.w.broken("%v", err)
		return
	}
	h.exec = exec
	restored := bft.Restored{Records: h.disk.read(), LSN: h.disk.durable, Boot: h.r.Uint64(), Born: !h.disk.born, Amnesiac: h.lostWhy}
	if h.liar != nil {
		before := h.w.stats.Deeds
		if found := h.liar.Records(restored.Records); h.lie() {
			restored.Records = found
			h.rotten = h.rotten || h.w.stats.Deeds > before
		}
	}
	h.oath = newOath(restored.Boot)
	h.disk.born = true
	if err := exec.restore(&restored); err != nil {
		h.w.broken("replica %d: restoring its own snapshot: %v", h.id, err)
		return
	}
	cfg := h.w.config(h.id)
	h.sheltered(func() { h.replica, err = bft.New(cfg, restored) })
	if !h.up {
		return
	}
	if err != nil {
		if !h.honest() {
			h.up = false // what its own disk holds does not let it start
			return
		}
		h.w.verdict.fail("S8", "replica %d does not start from its own records: %v", h.id, err)
		return
	}
	if h.checker, err = bft.NewChecker(&cfg); err != nil {
		h.w.broken("%v", err)
		return
	}
	h.lastLSN, h.tracker = restored.LSN, coverage.NewTracker(h.id, h.w.n)
	info := h.replica.Info()
	h.w.trace.note(h.w.q.now, KindStart, h.at, -1, func() string {
		return fmt.Sprintf("view %d stable %d executed %d, %d records", info.View, info.Stable, info.Executed, len(restored.Records))
	})
	if h.honest() {
		h.w.promises.started(h.id, info)
	}
	h.tick()
}

// tick makes turns at regular times.
func (h *host) tick() {
	h.after(tickEvery, h.tick)
	h.wake()
}

// crash ends the process.
func (h *host) crash() {
	if !h.up {
		return
	}
	h.w.trace.note(h.w.q.now, KindCrash, h.at, -1, func() string { return "" })
	h.w.stats.Crashes++
	h.up = false
	h.life++
	h.replica, h.exec, h.checker, h.replier, h.silent, h.reads = nil, nil, nil, nil, nil, nil
	h.disk.crash()
}

// struck crashes the process if a fault waits for a message of this type, three times of four, and
// tells whether it did.
func (h *host) struck(t bft.MessageType) bool {
	f := h.armed
	if f == nil || !h.up || f.On != t.String() || chance(h.r, 25) {
		return false
	}
	h.w.crashBy(h, f)
	down := between(h.r, bft.Millisecond, bft.Time(h.w.opts.Protocol.RequestTimeout))
	h.w.q.at(min(bft.Time(f.Until), h.w.q.now+down), h.start)
	return true
}

// pause makes the process stand still until a time. What reaches it waits, as in the buffers of
// a real machine.
func (h *host) pause(until bft.Time) {
	if h.up {
		h.paused = until
		h.w.trace.note(h.w.q.now, KindPause, h.at, -1, func() string { return "until " + Duration(until).String() })
	}
}

// after runs do in d, in this life and not while the process stands still.
func (h *host) after(d bft.Time, do func()) { h.when(h.w.q.now+d, do) }

func (h *host) when(t bft.Time, do func()) {
	life := h.life
	h.w.q.at(t, func() { h.running(life, do) })
}

// running runs do now, or when the process is continued, if it is still the same one.
func (h *host) running(life int, do func()) {
	switch {
	case h.life != life || !h.up:
	case h.paused > h.w.q.now:
		h.w.q.at(h.paused, func() { h.running(life, do) })
	default:
		h.sheltered(do)
	}
}

// sheltered runs do. Where the adversary has spoilt disk or state, an assertion of the core that fails stops
// the replica, which is what it is for; anywhere else it is a failure of the run.
func (h *host) sheltered(do func()) {
	if !h.rotten {
		do()
		return
	}
	life := h.life
	defer func() {
		if p := recover(); p != nil {
			h.w.trace.note(h.w.q.now, KindCrash, h.at, -1, func() string { return fmt.Sprint("stopped by itself: ", p) })
			if h.life == life {
				h.crash()
			}
		}
	}()
	do()
}

// receive takes a message from the network.
func (h *host) receive(m *message) {
	h.running(h.life, func() {
		h.w.trace.frame(h.w.q.now, KindDeliver, m)
		if len(m.frame) == 0 {
			return
		}
		h.cover(m)
		if h.honest() {
			h.w.resources.received(h, m)
		}
		if !h.w.net.replica(m.from) {
			h.fromClient(m)
			return
		}
		if h.honest() && !h.w.honestEndpoint(m.from) {
			h.w.accounts.holds(m.frame) // also what is refused: it may prove something
		}
		from := h.w.net.ids[m.from]
		if h.liar != nil && !h.liar.Receive(from, m.frame) && h.lie() {
			return
		}
		u, err := h.checker.FromPeer(from, m.frame)
		if err != nil {
			h.judge(m, err)
			return
		}
		h.verify(m, u)
	})
}

// verify has the signatures of a message checked, and gives it to the core.
func (h *host) verify(m *message, u *bft.Unverified) {
	cost := bft.Time(0)
	claims := len(u.Claims())
	if claims > 0 {
		cost = bft.Time(claims) * between(h.r, 0, bft.Time(h.w.opts.Machine.Verify))
		h.w.resources.of[h.at].work.Verified(meter.Remote(m.from), claims)
	}
	h.verifyFree = max(h.verifyFree, h.w.q.now) + cost
	h.when(h.verifyFree, func() {
		v, err := h.checker.Verify(u, h.w.verifier)
		if err != nil && h.liar != nil && h.liar.Verified(false) && h.lie() {
			v, err = u.Accept(slices.Repeat([]bool{true}, claims))
		}
		if err == nil {
			if h.w.net.replica(m.from) {
				h.oath.hears(h.w.net.ids[m.from], m.frame, h.w.n)
			}
			err = h.replica.Step(v)
		}
		h.judge(m, err)
		h.wake()
	})
}

// judge notes what became of a message. It holds an honest sender's to be valid: ErrInvalid accuses, so it
// must never hit somebody who follows the protocol (oracle A2). Beyond f liars it may: then two honest ones may hold different
// certificates.
func (h *host) judge(m *message, err error) {
	if !h.honest() {
		return
	}
	h.w.judged(m, err)
	if errors.Is(err, bft.ErrInvalid) && h.w.honestEndpoint(m.from) && !h.w.opts.Beyond {
		h.w.verdict.fail("A2", "replica %d calls a message of honest %s invalid: %v", h.id, h.w.trace.name(m.from), err)
	}
}

// wake schedules a turn of the core. What arrives until then is part of it.
func (h *host) wake() {
	if h.due {
		return
	}
	h.due = true
	h.after(between(h.r, 0, bft.Time(h.w.opts.Machine.Turn)), func() {
		h.due = false
		h.turn()
	})
}

// turn is one round of the host's loop: tell the time, see what is Ready, do it.
func (h *host) turn() {
	h.replica.Tick(h.w.q.now+1, h.clock())
	ready, ok := h.replica.Ready()
	if h.honest() {
		h.w.promises.observe(h.id, h.replica.Info())
		h.w.resources.turned(h)
	}
	if !ok {
		return
	}
	if h.honest() {
		h.w.promises.ready(h.id, &ready, h.lastLSN)
	}
	h.checkSigning(&ready)
	life := h.life
	if k := len(ready.Records); k > 0 {
		h.lastLSN = ready.Records[k-1].LSN
		h.disk.append(ready.Records, func(lsn bft.LSN) {
			h.running(life, func() { h.advance(bft.Done{Persisted: lsn}) })
		})
		if h.liar != nil && !h.liar.Sync(ready.Records) && h.lie() {
			h.rotten = true
			h.disk.forget(len(ready.Records))
		}
	}
	for _, s := range ready.Sign {
		h.sign(s)
	}
	for _, b := range ready.Check {
		h.check(b)
	}
	for _, m := range ready.Messages {
		if h.send(m); h.life != life {
			return // it crashed
		}
	}
	h.exec.run(&ready)
	h.disk.prune(ready.Stable)
}

func (h *host) clock() bft.Time {
	t := epochStart + h.w.q.now + h.skew
	if h.drift > 0 {
		t += (h.w.q.now - h.drift) / 10
	}
	return t
}

// advance reports to the core.
func (h *host) advance(d bft.Done) {
	h.replica.Advance(d)
	h.wake()
}

// sign signs, which takes time.
func (h *host) sign(s bft.SignRequest) {
	h.signFree = max(h.signFree, h.w.q.now) + between(h.r, 0, bft.Time(h.w.opts.Machine.Sign))
	h.when(h.signFree, func() {
		h.w.trace.bytes(h.w.q.now, KindSign, h.at, s.Message, func() string { return describeSigned(s.Message) })
		if chance(h.r, 50) && h.struck(s.Type) {
			return
		}
		h.advance(bft.Done{Signed: []bft.Signed{{ID: s.ID, Signature: h.signer.Sign(s.Message)}}})
	})
}

// check checks the signature of a client.
func (h *host) check(b *bft.Bundle) {
	h.w.resources.of[h.at].work.Checked(b)
	h.verifyFree = max(h.verifyFree, h.w.q.now) + between(h.r, 0, bft.Time(h.w.opts.Machine.Verify))
	h.when(h.verifyFree, func() {
		// With a key of small order one signature holds for anything: such keys have no client (rule 23).
		_, known := h.w.byKey[b.Client]
		valid := (known || b.Client.Check() == nil) && h.w.verifier.Verify(b.Client, bft.RequestSigningBytes(h.w.cluster, b.Payload), b.Signature)
		if h.liar != nil {
			if other := h.liar.Checked(valid); h.lie() {
				valid = other
			}
		}
		h.advance(bft.Done{Checked: []bft.Checked{{Digest: b.Digest, Valid: valid}}})
	})
}

// send sends what the core wants sent, or what the adversary makes of it.
func (h *host) send(m bft.Outbound) {
	if h.liar == nil {
		h.w.promises.sent(h.id, m.Frame, h.disk)
		h.w.resources.answered(h, m)
		h.w.accounts.holds(m.Frame)
		if h.w.opts.Cover != nil {
			h.tracker.Sent(m.Frame)
		}
		h.transmit(sending{Outbound: m})
		return
	}
	for _, s := range h.alter(m, func() []bft.Outbound { return h.liar.Send(m) }) {
		h.transmit(s)
	}
}

// alter is what the adversary makes of a frame, if the lie is to be told.
func (h *host) alter(m bft.Outbound, by func() []bft.Outbound) []sending {
	out := by()
	names := h.liar.Told()
	if !h.lies.tells(names) {
		return []sending{{Outbound: m}}
	}
	return h.lies.sent(m.Frame, len(names) > 0, out)
}

func (h *host) transmit(m sending) {
	all := h.w.net.ids
	for i := range len(all) {
		// From a different peer each time, for those who are told before a crash differ.
		to := endpoint((int(h.at) + i + int(h.lastLSN)) % len(all))
		if to == h.at || m.To != all[to] && (m.To != bft.Everyone || all[to] == h.id) {
			continue
		}
		h.w.net.send(h.at, to, m.Frame, m.lie)
		if m.To == bft.Everyone && i == h.w.n/2 && len(m.Frame) > 0 && h.struck(bft.MessageType(m.Frame[0])) {
			return
		}
	}
}

// reply sends a frame to a client, or what the adversary makes of it.
func (h *host) reply(client endpoint, frame []byte) {
	if h.liar == nil {
		h.w.net.send(h.at, client, frame, false)
		return
	}
	key := h.w.clients[int(client)-len(h.w.hosts)].key
	out := h.alter(bft.Outbound{Frame: frame}, func() []bft.Outbound {
		var out []bft.Outbound
		for _, f := range h.liar.Reply(key, frame) {
			out = append(out, bft.Outbound{Frame: f})
		}
		return out
	})
	for _, s := range out {
		h.w.net.send(h.at, client, s.Frame, s.lie)
	}
}

// fromClient takes a frame that came on a client's own channel.
func (h *host) fromClient(m *message) {
	key := h.w.clients[int(m.from)-len(h.w.hosts)].key
	switch bft.MessageType(m.frame[0]) {
	case bft.TypeRequest:
		if h.liar != nil && !h.liar.Request(key, m.frame) && h.lie() {
			return
		}
		h.replier[key] = replierOf(m.frame)
		u, err := h.checker.FromClient(key, m.frame)
		if err != nil {
			h.judge(m, err)
			return
		}
		b, _ := u.Request()
		if delete(h.silent, b.Digest); !u.Asks(h.id) {
			h.silent[b.Digest] = struct{}{}
		}
		h.verify(m, u)
	case bft.TypeQuery:
		q, err := bft.DecodeQuery(m.frame, bft.WindowOps, bft.MaxBundleBytes)
		if err != nil {
			h.judge(m, err)
			return
		}
		h.query(m.from, q)
	}
}

// query answers a stale read at once, and a linearizable one when the core says so.
func (h *host) query(from endpoint, q *bft.Query) {
	if q.Consistency == bft.Stale {
		h.exec.answer(from, q)
		return
	}
	h.readID++
	if err := h.replica.Read(h.readID); err != nil {
		h.reply(from, bft.AnswerFrame(h.id, 0, h.exec.machine.Executed(), q, nil))
		return
	}
	h.reads[h.readID] = &waitingRead{from, q}
	h.wake()
}
