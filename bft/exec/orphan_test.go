package exec

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/baluarte-bft/baluarte/bft"
)

func strict(instance string) *bft.Claim {
	return &bft.Claim{Instance: instance, Replace: bft.ReplaceAll}
}

func silent(instance string) *bft.Claim {
	return &bft.Claim{Instance: instance, Replace: bft.ReplaceSilent, Grace: 10 * bft.Second}
}

func lease(d bft.Time) *bft.Claim { return &bft.Claim{Lease: d} }

// claiming is an opening with a claim, made at a time of the client's clock.
func claiming(client bft.ClientID, nonce byte, clock bft.Time, c *bft.Claim, payloads ...string) *bft.Bundle {
	b := openWith(client, nonce, payloads...)
	b.NotAfter, b.Claim = clock+hour, c
	return b
}

// sign is a sign of life: an operation that no service gets.
func sign(client bft.ClientID, s bft.SessionID, n uint64) *bft.Bundle {
	return &bft.Bundle{Client: client, Session: s, First: n, Ops: [][]byte{nil}}
}

// claimed returns a machine whose sessions may end by themselves, in every way.
func claimed(t tb) *rig {
	r := newRig(t, func(l *Limits) { l.SessionsPerClient = 5 })
	r.do(claiming(alice, 1, hour, strict("a"), "x"))
	r.do(claiming(alice, 2, hour+1, strict("a"), "y"))
	r.do(claiming(alice, 3, hour, silent("b"), "z"))
	r.do(claiming(alice, 4, hour+1, silent("b")))
	r.do(claiming(bob, 5, hour, lease(bft.Second), "w"))
	r.do(claiming(bob, 6, hour, &bft.Claim{Instance: "c", Lease: 5 * bft.Second}))
	r.at(hour+2*bft.Second, openWith(bob, 7, "v"))
	return r
}

// ask repeats a bundle that was executed before.
func (r *rig) ask(b *bft.Bundle, results ...string) {
	r.Helper()
	r.want(r.Replay(b), results...)
}

// gone checks that the core is told that the session has ended, or that it has not.
func (r *rig) gone(s bft.SessionID, want bool) {
	r.Helper()
	for _, m := range r.Marks() {
		if m.Session == s && m.Gone != want {
			r.Fatalf("session %d: gone is %v", s, m.Gone)
		}
	}
}

func TestReplacedSessionExecutesNothingThereafter(t *testing.T) {
	r := newRig(t)
	old := r.do(claiming(alice, 1, hour, strict("a"), "x"))
	r.want(r.do(in(alice, old.Session, 2, "y")), "2:y")
	others := []bft.SessionID{
		r.do(claiming(alice, 2, hour, strict("b"))).Session,
		r.do(claiming(bob, 3, hour, strict("a"))).Session,
		r.open(alice, 4),
	}
	out := r.at(0, claiming(alice, 5, hour+1, strict("a"), "z"), in(alice, old.Session, 3, "late"))
	r.want(out.Replies[0], "3:z")
	r.want(out.Replies[1], "replaced")
	if !slices.ContainsFunc(out.Executed.Marks, func(m bft.SessionMark) bool { return m.Session == old.Session && m.Gone }) {
		t.Error("the core is not told that the session has ended")
	}
	r.want(r.do(in(alice, old.Session, 2, "y", "more")), "2:y", "replaced")
	r.ask(in(alice, old.Session, 4, "even later"), "replaced")
	for _, s := range others {
		r.gone(s, false)
		r.want(r.do(in(r.table.sessions[s].owner.key, s, 1, "q")), string('0'+rune(r.tape.ops))+":q")
	}
}

// What a dead client had sent to open a session may arrive after that of the client that replaced it.
func TestAnOpeningThatWasReplacedBeforeItCame(t *testing.T) {
	r := newRig(t)
	late := claiming(alice, 1, hour, strict("a"), "x")
	now := r.do(claiming(alice, 2, hour+1, strict("a"), "y")).Session
	r.want(r.do(late), "replaced")
	r.ask(late, "replaced")
	r.gone(now, false)
	if r = r.again(); len(r.table.clients[alice].instances) != 1 {
		t.Fatal("a restored machine does not know the instance")
	}
	r.want(r.do(late), "replaced")
	// Once that is forgotten, the opening comes too late anyway.
	r.want(r.at(2*hour+2, late).Replies[0], "expired")
	if c := r.table.clients[alice]; len(c.instances) != 0 {
		t.Errorf("instances are remembered for ever: %v", c.instances)
	}
}

func TestGentlyReplacedOnlyIfSilent(t *testing.T) {
	for _, alive := range []bool{false, true} {
		r := newRig(t)
		old := r.do(claiming(alice, 1, hour, silent("a"), "x")).Session
		r.do(claiming(alice, 2, hour+1, silent("a")))
		r.gone(old, false)
		r.want(r.at(hour+5*bft.Second, in(alice, old, 1, "x")).Replies[0], "1:x") // anybody can repeat that
		if alive {
			r.want(r.do(sign(alice, old, 2)), "invalid")
		}
		r.at(hour + 10*bft.Second)
		r.gone(old, false)
		got := r.at(hour+10*bft.Second+1, in(alice, old, 3, "y")).Replies[0]
		if alive {
			r.want(got, "2:y")
			r.gone(old, false)
		} else {
			r.want(got, "replaced")
			r.gone(old, true)
		}
	}
}

// An opening that is older than the last one of its instance may come from the dead: it is in doubt though its own
// operations are executed, and puts nobody in doubt.
func TestAnOldOpeningIsInDoubtFromItsBeginning(t *testing.T) {
	for _, c := range []*bft.Claim{silent("a"), strict("a"), {Instance: "a"}} {
		r := newRig(t)
		now := r.do(claiming(alice, 1, hour+1, silent("a"))).Session
		old := r.do(claiming(alice, 2, hour, c, "x"))
		r.want(old, "1:x")
		r = r.again()
		r.at(hour + 10*bft.Second + 1)
		r.gone(now, false)
		r.want(r.do(in(alice, old.Session, 2, "y")), "replaced")
	}
}

func TestLeaseRunsOutUnlessItIsUsed(t *testing.T) {
	r := newRig(t)
	s := r.do(claiming(alice, 1, hour, lease(bft.Second), "x")).Session
	at := func(seconds float64) bft.Time { return hour + bft.Time(seconds*float64(bft.Second)) }
	r.want(r.at(at(1), in(alice, s, 2, "y")).Replies[0], "2:y")
	late := in(alice, s, 4, "late")
	late.Expires = at(1)
	r.want(r.at(at(1.9), in(alice, s, 1, "x", "y"), late).Replies[0], "1:x", "2:y") // neither extends it
	r.gone(s, false)
	r = r.again()
	r.want(r.at(at(2), sign(alice, s, 3)).Replies[0], "invalid")
	r.want(r.at(at(3), in(alice, s, 5, "z")).Replies[0], "3:z")
	// It ends before anything else of the batch.
	r.want(r.at(at(4)+1, in(alice, s, 6, "more")).Replies[0], "ended")
	r.want(r.do(in(alice, s, 5, "z", "more")), "3:z", "ended")
	if len(r.table.ending) != 0 || r.Sessions() != 0 {
		t.Errorf("%d sessions may end, %d are live", len(r.table.ending), r.Sessions())
	}
}

func TestClaimsBeyondTheLimitsAreRefused(t *testing.T) {
	r := newRig(t)
	long := r.table.limits.MaxAhead + 1
	for _, c := range []*bft.Claim{lease(long), {Instance: "a", Replace: bft.ReplaceSilent, Grace: long}} {
		r.want(r.do(claiming(alice, 1, hour, c, "x")), "invalid")
	}
	if len(r.table.clients) != 0 {
		t.Error("a client without anything is kept")
	}
}

// States in which nothing is claimed are written as ever.
func TestUnclaimedStateKeepsItsVersion(t *testing.T) {
	for _, c := range []struct {
		r    *rig
		want byte
	}{{busy(t), snapshotVersion}, {claimed(t), claimedVersion}} {
		if got := c.r.bytes()[len(snapshotMagic)]; got != c.want {
			t.Errorf("version %d, want %d", got, c.want)
		}
	}
	r := newRig(t)
	r.do(claiming(alice, 1, hour, lease(bft.Second)))
	s := r.do(claiming(alice, 2, hour, lease(bft.Second))).Session
	r.do(&bft.Bundle{Client: alice, Session: s, First: 1, Close: true})
	r.at(hour + 2*bft.Second)
	if got := r.bytes()[len(snapshotMagic)]; got != claimedVersion {
		t.Errorf("why a session ended is not saved")
	}
}

// Whatever happens, a restored machine goes on like the one that was saved, and no operation of a session is executed
// after its end.
func TestOrphansAgainstARestoredMachine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := newRig(t, func(l *Limits) { l.SessionsPerClient, l.MaxClosed = 4, 3 })
		b := a.again()
		now, nonce, next := hour, byte(0), map[bft.SessionID]uint64{}
		for range rapid.IntRange(5, 40).Draw(t, "steps") {
			now += rapid.SampledFrom([]bft.Time{0, bft.Second, 3 * bft.Second, 11 * bft.Second}).Draw(t, "pause")
			client := rapid.SampledFrom([]bft.ClientID{alice, bob}).Draw(t, "client")
			var bundle *bft.Bundle
			if s := bft.SessionID(rapid.IntRange(0, int(a.table.last)).Draw(t, "session")); s == 0 {
				nonce++
				claim := rapid.SampledFrom([]*bft.Claim{nil, strict("a"), strict("b"), silent("a"), lease(2 * bft.Second),
					{Instance: "a", Lease: 4 * bft.Second}}).Draw(t, "claim")
				clock := now - rapid.SampledFrom([]bft.Time{0, 5 * bft.Second}).Draw(t, "age")
				bundle = claiming(client, nonce, clock, claim, "o")
				bundle.Close = rapid.IntRange(0, 5).Draw(t, "close") == 0
			} else {
				next[s]++
				bundle = in(client, s, next[s], "p")
				bundle.Close = rapid.IntRange(0, 9).Draw(t, "close") == 0
			}
			x, y := a.at(now, bundle), b.at(now, bundle)
			if show(x.Replies[0].Results)[0] != show(y.Replies[0].Results)[0] || len(x.Executed.Marks) != len(y.Executed.Marks) {
				t.Fatalf("%v, but the restored one %v", show(x.Replies[0].Results), show(y.Replies[0].Results))
			}
			if !bytes.Equal(a.bytes(), b.bytes()) {
				t.Fatal("the states differ")
			}
			a.check()
			if rapid.IntRange(0, 3).Draw(t, "restore") == 0 {
				b = a.again()
			}
		}
	})
}
