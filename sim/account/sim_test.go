package account_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim"
	"github.com/baluarte-bft/baluarte/sim/account"
)

// manifestOf is the manifest of a run of the simulator, whose keys are functions of its seed.
func manifestOf(o *sim.Options) account.Manifest {
	var seed [8]byte
	binary.BigEndian.PutUint64(seed[:], o.Seed)
	ring := crypto.NewFastRing()
	m := account.Manifest{Cluster: crypto.Hash("baluarte/sim-cluster", []byte(fmt.Sprint(o.Seed))), Interval: o.Protocol.Interval, Verifier: ring}
	for i := range o.Protocol.N {
		k := ring.NewKey(crypto.Hash("baluarte/sim-seed", seed[:], []byte(fmt.Sprint("replica key ", i))))
		m.Members = append(m.Members, k.Public())
	}
	return m
}

// watched is a run with a Book of all that honest replicas were sent.
type watched struct {
	*sim.Report
	manifest account.Manifest
	book     *account.Book
	// honest counts the frames that honest replicas sent each other.
	honest int
}

func watch(t testing.TB, o sim.Options) *watched {
	t.Helper()
	o.Signatures = "fast"
	w := &watched{manifest: manifestOf(&o)}
	w.book = account.New(w.manifest)
	liars := slices.Clone(o.Byzantine)
	for _, f := range o.Faults {
		// Who goes on from an older disk, and does not notice, has lost promises: that is amnesia.
		if f.Kind == sim.DiskLoss && f.On == "older unnoticed" {
			liars = append(liars, f.Targets...)
		}
	}
	liar := func(id int) bool { return slices.Contains(liars, bft.ReplicaID(id)) }
	o.Observe = func(e *sim.Event) {
		if e.Kind != sim.KindDeliver || e.To >= o.Protocol.N || liar(e.To) || len(e.Frame) == 0 {
			return
		}
		err := w.book.AddFrame(e.Frame)
		if e.From < o.Protocol.N && !liar(e.From) {
			if w.honest++; err != nil {
				t.Fatalf("seed %d: a frame of honest %d is not taken: %v", o.Seed, e.From, err)
			}
		}
	}
	var err error
	if w.Report, err = sim.Run(o); err != nil {
		t.Fatal(err)
	}
	for _, e := range w.book.All() {
		why, err := account.Explain(w.manifest, e)
		if err != nil {
			t.Fatalf("seed %d: evidence of %v against %d does not hold: %v", o.Seed, e.Kind, e.Culprit, err)
		}
		if !liar(int(e.Culprit)) {
			t.Fatalf("seed %d: honest replica framed: %s", o.Seed, why)
		}
	}
	return w
}

// runs is how many runs the tests here watch.
func runs(t *testing.T, many uint64) uint64 {
	if testing.Short() {
		return many / 4
	}
	return many
}

// TestA2HonestRunsAccuseNobody: crashes, restarts, losses, state transfers and the lies of others give no
// evidence against an honest replica; watch checks that for each run. The lies themselves are seen.
func TestA2HonestRunsAccuseNobody(t *testing.T) {
	kinds := make(map[account.Kind]int)
	frames, crashes, installs := 0, 0, 0
	for seed := uint64(1); seed <= runs(t, 48); seed++ {
		w := watch(t, sim.Draw(seed))
		for _, e := range w.book.All() {
			kinds[e.Kind]++
		}
		frames, crashes, installs = frames+w.honest, crashes+w.Stats.Crashes, installs+w.Stats.Installs
	}
	t.Logf("%d frames between honest replicas, %d crashes, %d state transfers; evidence against liars by kind: %v", frames, crashes, installs, kinds)
	if frames == 0 || crashes == 0 || len(kinds) == 0 {
		t.Errorf("the runs show nothing: %d frames, %d crashes, evidence %v", frames, crashes, kinds)
	}
}

// TestA1Equivocation: more than f liars who equivocate break agreement in the simulator, and f+1 of them are named.
func TestA1Equivocation(t *testing.T) {
	broken := 0
	for seed := uint64(1); seed <= runs(t, 24); seed++ {
		o := sim.Under(seed, "equivocating primary")
		f := bft.MaxFaulty(o.Protocol.N)
		o.Beyond, o.Byzantine, o.Faults = true, nil, nil
		for id := range bft.ReplicaID(f + 1 + int(seed)%f) {
			o.Byzantine = append(o.Byzantine, id)
		}
		w := watch(t, o)
		if w.Failure == nil || w.Failure.Oracle != "S1" {
			continue
		}
		broken++
		if found := w.book.Culprits(); len(found) < f+1 {
			t.Errorf("seed %d: agreement is broken by %d of %d, and %d are named, want %d", seed, len(o.Byzantine), o.Protocol.N, len(found), f+1)
		}
	}
	if broken == 0 {
		t.Error("agreement was never broken")
	}
}
