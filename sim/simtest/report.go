package simtest

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/baluarte-bft/baluarte/sim"
	"github.com/baluarte-bft/baluarte/sim/draw"
)

// told is a failure as t is told of it.
type told struct {
	seed    uint64
	oracle  string
	detail  string
	at      sim.Duration
	options *sim.Options // nil if the run has not ended
	picture *draw.Run
}

// meanings say what it means for a service that an oracle broke, and what it usually comes from.
var meanings = map[string]string{
	"S2": `All replicas must give the same result for the same operation, also when one executes it again after a restart.
Does Apply, or Query, depend on anything but the state, the operation and the Context: on a clock, on randomness,
on the order of a map, on a pointer, on a goroutine, on a package-level variable? If one of the replicas has
restored a snapshot: does the snapshot have everything that a result depends on?`,
	"S7": `Equal states must write equal snapshots, whatever led to them, for the replicas compare their digests.
Is a map ranged over in Snapshot or WriteTo, unsorted? Does the state hold a time, a random number, an address? If one of the
replicas has restored a snapshot: does it have everything, and does Restore replace all that was there before?`,
	"S5": `The results that clients were told cannot come from the model, whatever order the calls are put in.
Is the model right? Then the service gives a result that its operations so far do not account for.`,
	"PANIC":  `Every replica executes the same operation, so a panic ends all of them. Apply must survive any bytes that Validate lets pass.`,
	"HANG":   `Nothing ends the call: the replica answers nobody any more, and so do the others, for they execute the same.`,
	"RESULT": `What simtest.Results was given refuses what a client was told.`,
	"REPLAY": `After the run a new service has applied the same operations once more, with the same Contexts, at another date (1 January 2000).
Does Apply depend on the date, on a package-level variable, on randomness, on the order of a map?`,
	"BYTES": `The bytes of an operation belong to Baluarte, and so do those of a result once it is returned: copy what is kept,
and do not write to either.`,
	"QUERY": `Query changes nothing: clients ask some of the replicas, so whatever it changes would differ from replica to replica.`,
	"SNAPSHOT": `A snapshot is the state at one point. It is written while operations go on, perhaps more than once, and must not
change meanwhile: copy the state in Snapshot, or never change it in place. A replica that cannot write one stops.`,
	"RESTORE": `A replica that has fallen behind, or is started again, goes on from a snapshot. Restore reads all of it, whatever little each
Read gives, and what was there before is gone.`,
	"FACTORY": `Each replica makes its own service when it starts, with the same factory that a node is given.`,
	"L1": `Clients wait for results that f+1 replicas give alike, and for answers that a quorum gives alike. If nothing else
is wrong with the service, this is a mistake of Baluarte: please report it, with the service and the seed.`,
}

// others is what it means that another oracle broke.
const others = `This promise is kept by Baluarte, not by the service: if nothing else is wrong with the service, please report it,
with the service and the seed.`

// explained tells whether a failure of this kind was told of at length, and for which seed.
func (s *suite) explained(oracle string) (seed uint64, yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seed, yes = s.told[oracle]
	return seed, yes
}

// tell tells t of a failure: the first of its kind at length.
func (s *suite) tell(t testing.TB, f *told) {
	t.Helper()
	s.mu.Lock()
	first, before := s.told[f.oracle]
	if !before {
		s.told[f.oracle] = f.seed
	}
	s.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "simtest: seed %d, oracle %s: %s\n", f.seed, f.oracle, strings.TrimRight(f.detail, "\n"))
	if before {
		fmt.Fprintf(&b, "seed %d says what this means\n", first)
	} else {
		meaning, ok := meanings[f.oracle]
		if !ok {
			meaning = others
		}
		fmt.Fprintf(&b, "\n%s\n\n", meaning)
		if f.options != nil {
			b.WriteString(setting(f.options, f.at))
		}
	}
	fmt.Fprintf(&b, "repeat    %s\n", command(t.Name(), f.seed))
	fmt.Fprintf(&b, "diagram   %s\n", diagram(t, f))
	t.Error(strings.TrimRight(b.String(), "\n"))
}

// setting says what befell the cluster.
func setting(o *sim.Options, at sim.Duration) string {
	var b strings.Builder
	when := "after the run"
	if at > 0 {
		when = "at " + at.String()
	}
	fmt.Fprintf(&b, "cluster   %d replicas, %d clients; it broke %s\n", o.Protocol.N, o.Load.Clients, when)
	if len(o.Behaviours) > 0 {
		fmt.Fprintf(&b, "liars     replicas %v: %s\n", o.Byzantine, strings.Join(o.Behaviours, ", "))
	}
	for _, x := range o.Faults {
		if at == 0 || x.At <= at {
			fmt.Fprintf(&b, "fault     %v\n", x)
		}
	}
	return b.String()
}

// command is how to run one seed again.
func command(test string, seed uint64) string {
	var pattern []string
	for part := range strings.SplitSeq(test, "/") {
		pattern = append(pattern, "^"+regexp.QuoteMeta(part)+"$")
	}
	flag := ""
	if name := fmt.Sprintf("seed=%d", seed); !strings.HasSuffix(test, "/"+name) {
		flag = fmt.Sprintf(" -simtest.seeds=%d", seed) // the test has no subtests
	} else if *seedsFlag != "" {
		flag = fmt.Sprintf(" -simtest.seeds=%d", seed)
	}
	return fmt.Sprintf("go test -count=1 -run '%s'%s", strings.Join(pattern, "/"), flag)
}

// drawing tells whether diagrams are wanted.
func drawing() bool {
	f := flag.Lookup("test.artifacts")
	return f != nil && f.Value.String() == "true"
}

// diagram writes the diagram of a run, if there is one, and says where it is.
func diagram(t testing.TB, f *told) string {
	switch {
	case f.options == nil:
		return "none, for the run has not ended"
	case f.picture == nil:
		return "add -artifacts to have one"
	}
	var page bytes.Buffer
	if err := draw.HTML(&page, *f.picture); err != nil {
		return "none: " + err.Error()
	}
	path := filepath.Join(t.ArtifactDir(), fmt.Sprintf("seed-%d.html", f.seed))
	if err := os.WriteFile(path, page.Bytes(), 0o644); err != nil {
		return "none: " + err.Error()
	}
	return path
}

const (
	// quotedText and quotedBytes are how much of a text, and of other bytes, is printed.
	quotedText  = 72
	quotedBytes = 32
)

// quote prints bytes for a reader: as text if most of them are, else in hexadecimal, and of long ones the beginning.
func quote(b []byte) string {
	odd := 0
	for _, c := range string(b[:min(len(b), quotedText)]) {
		if !unicode.IsPrint(c) && c != '\n' || c == utf8.RuneError {
			odd++
		}
	}
	format, most := "%q", quotedText
	if odd*4 > min(len(b), quotedText) {
		format, most = "%x", quotedBytes
	}
	if len(b) <= most {
		return fmt.Sprintf(format, b)
	}
	return fmt.Sprintf(format+"… (%d bytes)", b[:most], len(b))
}
