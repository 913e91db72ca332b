package sim

import (
	"fmt"
	"io"
	"strings"

	"github.com/baluarte-bft/baluarte/bft"
)

// Failure is a broken oracle.
type Failure struct {
	// Oracle is its name, such as S1.
	Oracle string `json:"oracle"`
	// At is the virtual time at which it broke.
	At Duration `json:"at"`
	// Detail says what was seen.
	Detail string `json:"detail"`
	// Trace is what happened last.
	Trace []string `json:"trace,omitempty"`
	// Picture is an HTML page of the history that is not linearizable (S5), if that is what broke.
	Picture []byte `json:"-"`
}

// Error is the oracle and what it saw.
func (f *Failure) Error() string { return fmt.Sprintf("%s at %v: %s", f.Oracle, f.At, f.Detail) }

// Stats counts what happened in a run.
type Stats struct {
	Virtual     Duration `json:"virtual_time"`
	Events      int      `json:"events"`
	Sequences   bft.Seq  `json:"sequences"`
	Views       bft.View `json:"views"`
	ViewChanges int      `json:"view_changes"` // entered by some honest replica, all counted
	// ViewsAfterHeal is by how many views the highest has grown between the heal and the end of the load.
	ViewsAfterHeal bft.View `json:"views_after_heal"`
	Stable         bft.Seq  `json:"stable"`
	Installs       int      `json:"snapshots_installed"`
	Crashes        int      `json:"crashes"`
	Faults         int      `json:"faults"`
	Sent           int      `json:"sent"`
	Lost           int      `json:"lost"`
	Duplicated     int      `json:"duplicated"`
	Operations     int      `json:"operations"`
	Reads          int      `json:"reads"`
	// Measured counts the operations that ended while the load of Load.For went on.
	Measured int `json:"measured,omitempty"`
	// Undecided counts calls that ended with an error that leaves their outcome open.
	Undecided int `json:"undecided"`
	// Longest is the longest that a call took of the time after Heal.
	Longest Duration `json:"longest_call_after_heal"`
	// Deeds are how often the adversary lied, in one way or several at once. Refused and Outvoted are the
	// false messages that honest receivers refused, and those that they took in and that came to nothing all
	// the same; Endured are the lies that sent nothing false, such as what was kept back.
	Deeds    int `json:"deeds"`
	Refused  int `json:"lies_refused"`
	Outvoted int `json:"lies_outvoted"`
	Endured  int `json:"lies_endured"`
	// Injected counts how often faults of each class and duration really hit.
	Injected []Injection `json:"injected,omitempty"`
	// Calls tell how often operations were executed, by the semantics of their calls; none unless these differ.
	Calls []Calls `json:"calls,omitempty"`
	// Unchecked: the history was too hard to check in the time that there is (S5).
	Unchecked bool `json:"unchecked,omitempty"`
	// Lies counts what the adversary did.
	Lies []Lie `json:"lies,omitempty"`
}

// Lie is one way of lying, and how often it was really done.
type Lie struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

// Injection is how often faults of a class and a duration really hit.
type Injection struct {
	Class Class       `json:"class"`
	Lasts Persistence `json:"duration"`
	Count int         `json:"count"`
}

// Report is what became of a run.
type Report struct {
	Options   Options  `json:"options"`
	Outcome   string   `json:"outcome"` // "ok" or "failed"
	TraceHash string   `json:"trace_hash"`
	Failure   *Failure `json:"failure,omitempty"`
	// Accused are the replicas that the evidence names.
	Accused []Accusation `json:"accused,omitempty"`
	Stats   Stats        `json:"stats"`
}

// OK tells whether every oracle held.
func (r *Report) OK() bool { return r.Failure == nil }

// LieCount is how many lies were told.
func (r *Report) LieCount() int {
	n := 0
	for _, l := range r.Stats.Lies {
		n += l.Count
	}
	return n
}

// WriteTo prints the report for a reader.
func (r *Report) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	o := &r.Options
	fmt.Fprintf(&b, "seed          %d\n", o.Seed)
	p := &o.Protocol
	fmt.Fprintf(&b, "replicas      %d, of which %d may be faulty\n", p.N, bft.MaxFaulty(p.N))
	fmt.Fprintf(&b, "protocol      interval %d, window %d, pipeline %d, batch %d, bundle %d\n", p.Interval, p.Window, p.Pipeline, p.MaxBatchOps, p.MaxBundleOps)
	fmt.Fprintf(&b, "timeouts      request %v, at most %v, suspect %v, status %v\n", p.RequestTimeout, p.MaxTimeout, p.SuspectFloor, p.StatusInterval)
	l := &o.Load
	fmt.Fprintf(&b, "load          %s, %d clients × %d, %d keys, think %v, reads %d %% linearizable %d %% stale %d %% ordered, %d bad clients\n",
		l.Service, l.Clients, l.Outstanding, l.Keys, l.Think, l.Linearizable, l.Stale, l.Ordered, l.BadClients)
	if l.Semantics.mixed() {
		fmt.Fprintf(&b, "semantics     at most once %d %%, at least once %d %%, maybe %d %%, %d %% of clients' messages lost, %d clients crash\n",
			l.AtMostOnce, l.AtLeastOnce, l.Maybe, o.Network.ClientLoss, l.Crashes)
	}
	n := &o.Network
	fmt.Fprintf(&b, "network       delay %v + %v, loss %d %%, duplicates %d %%, late %d %%\n", n.Delay, n.Jitter, n.Loss, n.Duplicate, n.Reorder)
	m := &o.Machine
	fmt.Fprintf(&b, "machine       sync %v, snapshot %v, sign %v, verify %v, execute %v, turn %v, skew %v, %s signatures\n",
		m.Sync, m.Snapshot, m.Sign, m.Verify, m.Execute, m.Turn, m.Skew, o.Signatures)
	if len(o.Behaviours) == 0 {
		fmt.Fprintf(&b, "adversary     none\n")
	} else {
		fmt.Fprintf(&b, "adversary     %s, replicas %v, %s\n", strings.Join(o.Behaviours, " + "), o.Byzantine, o.lying())
	}
	for _, f := range o.Faults {
		fmt.Fprintf(&b, "fault         %v\n", f)
	}
	fmt.Fprintf(&b, "heal          %v\n", o.Heal)
	s := &r.Stats
	fmt.Fprintf(&b, "ran           %v, %d events, %d numbers, %d views, %d crashes, %d snapshots installed\n", s.Virtual, s.Events, s.Sequences, s.Views, s.Crashes, s.Installs)
	fmt.Fprintf(&b, "messages      %d sent, %d lost, %d doubled\n", s.Sent, s.Lost, s.Duplicated)
	fmt.Fprintf(&b, "calls         %d operations, %d reads, %d left open, the longest after the heal %v\n", s.Operations, s.Reads, s.Undecided, s.Longest)
	for _, c := range s.Calls {
		fmt.Fprintf(&b, "executed      %v\n", &c)
	}
	for _, x := range s.Lies {
		fmt.Fprintf(&b, "lie           %s: %d\n", x.Name, x.Count)
	}
	if s.Deeds > 0 {
		fmt.Fprintf(&b, "lies          %d told, %d refused, %d outvoted, %d endured\n", s.Deeds, s.Refused, s.Outvoted, s.Endured)
	}
	for _, x := range s.Injected {
		fmt.Fprintf(&b, "injected      %s, %s: %d\n", x.Class, x.Lasts, x.Count)
	}
	for _, a := range r.Accused {
		fmt.Fprintf(&b, "accused       r%d: %s\n", a.Replica, a.Kind)
	}
	if f := r.Failure; f != nil {
		for _, line := range f.Trace {
			fmt.Fprintln(&b, line)
		}
		fmt.Fprintf(&b, "failure       %s\n", f.Error())
	}
	fmt.Fprintf(&b, "outcome       %s\n", r.Outcome)
	fmt.Fprintf(&b, "trace_hash    %s\n", r.TraceHash)
	k, err := io.WriteString(w, b.String())
	return int64(k), err
}
