package teach

import (
	"fmt"
	"math/bits"
	"slices"
	"testing"
)

// TestPrinterTable compares the enumeration with the table of Tanenbaum & van Steen, ch. 8.
func TestPrinterTable(t *testing.T) {
	head, rows := printerTable()
	if want := []string{"client sends again", "MPC", "MC(P)", "C(MP)", "PMC", "PC(M)", "C(PM)"}; !slices.Equal(head, want) {
		t.Errorf("head: %q", head)
	}
	want := [][]string{
		{"always", "DUP", "OK", "OK", "DUP", "DUP", "OK"},
		{"never", "OK", "ZERO", "ZERO", "OK", "OK", "ZERO"},
		{"only when acknowledged", "DUP", "OK", "ZERO", "DUP", "OK", "ZERO"},
		{"only when not acknowledged", "OK", "ZERO", "OK", "OK", "DUP", "OK"},
	}
	for i, r := range rows {
		if !slices.Equal(r, want[i]) {
			t.Errorf("row %d: %q, want %q", i, r, want[i])
		}
	}
}

// TestHammingDistance: two words of the code differ in at least 3 bits (4 with the extra parity), so
// that a word with one error is nearest to one word only.
func TestHammingDistance(t *testing.T) {
	for a := range uint8(16) {
		for b := range a {
			if d := bits.OnesCount8(hammingEncode(a) ^ hammingEncode(b)); d < 3 {
				t.Errorf("%04b and %04b are %d bits apart", a, b, d)
			}
			if d := bits.OnesCount8(extendedEncode(a) ^ extendedEncode(b)); d < 4 {
				t.Errorf("with the extra parity %04b and %04b are %d bits apart", a, b, d)
			}
		}
		if got, at := hammingDecode(hammingEncode(a)); got != a || at != 0 {
			t.Errorf("%04b comes back as %04b, turned %d", a, got, at)
		}
	}
}

// TestVectorsOfMore: one liar in five or six changes nothing, wherever it is.
func TestVectorsOfMore(t *testing.T) {
	for n := 4; n <= 6; n++ {
		for liar := range n {
			lies, differ, missed := census(n, liar, []string{"1", "2"}, false)
			if lies == 0 || differ != 0 || missed != 0 {
				t.Errorf("n = %d, liar %d: %d lies, %d divide, %d hide", n, liar+1, lies, differ, missed)
			}
		}
	}
}

// TestMajority needs more than half of all votes, not of those that came.
func TestMajority(t *testing.T) {
	for votes, want := range map[[3]string]string{
		{"1", "1", "2"}: "1", {"1", "2", "3"}: unknown, {"1", nothing, "2"}: unknown, {nothing, nothing, "1"}: unknown,
		{nothing, nothing, nothing}: unknown, {"1", nothing, "1"}: "1",
	} {
		if got := majority(votes[:]); got != want {
			t.Errorf("majority of %v is %s, want %s", votes, got, want)
		}
	}
}

// TestDimensions compares the settings that the algorithms solve with the theorem of Dolev, Dwork & Stockmeyer.
func TestDimensions(t *testing.T) {
	solvable := []string{
		"synchronous, bounded, unordered, unicast", "synchronous, bounded, unordered, multicast",
		"synchronous, bounded, ordered, unicast", "synchronous, bounded, ordered, multicast",
		"synchronous, unbounded, ordered, unicast", "synchronous, unbounded, ordered, multicast",
		"asynchronous, bounded, ordered, multicast", "asynchronous, unbounded, ordered, multicast",
	}
	for _, in := range settings() {
		solved := false
		for _, a := range algorithms() {
			_, how, _ := broken(a, in)
			solved = solved || how == ""
		}
		if want := slices.Contains(solvable, in.String()); solved != want {
			t.Errorf("%v: solved %v, want %v", in, solved, want)
		}
	}
}

// TestAvailabilityIsExact computes the two famous figures another way.
func TestAvailabilityIsExact(t *testing.T) {
	o := outages()
	if got, want := percent(o[0].available(), 4), fmt.Sprintf("%.4f %%", 100*(1-1/3.6e6)-0.00005); got != want {
		t.Errorf("1 ms an hour: %s, want %s", got, want)
	}
	if got := o[1].available().RatString(); got != "351/365" {
		t.Errorf("two weeks a year: %s", got)
	}
	if got := percent(o[0].reliable(msHour-2), 7); got != "0.0000277 %" {
		t.Errorf("an hour less 2 ms: %s", got)
	}
}

// TestAtomicUpdateEverywhere: after two phases no server is left behind, whoever crashes when.
func TestAtomicUpdateEverywhere(t *testing.T) {
	for who := range atomicServers + 1 {
		for at := 1; at <= 10; at++ {
			c := commit{twoPhase: true, who: who, at: at}
			c.run()
			if d := c.done(); d != 0 && d != atomicServers {
				t.Errorf("process %d crashes at its act %d: %d of %d updated", who, at, d, atomicServers)
			}
		}
	}
}
