package baluarte_test

import (
	"strings"
	"testing"
)

// TestDocDigests: the digest of what a document puts into a file is that of the run, while keys and digests of what is
// drawn at random may be any.
func TestDocDigests(t *testing.T) {
	one, other := strings.Repeat("1", 64), strings.Repeat("2", 64)
	for line, any := range map[string]bool{"digest    #": false, "1        12     1        #": false, "client    #": true, `{"Bidder":"#"}`: true} {
		s := &shell{t: t, bound: map[string]string{}}
		documented := strings.Replace(line, "#", one, 1)
		if _, ok := s.matchLine(documented, documented, false); !ok {
			t.Errorf("%q does not match itself", documented)
		}
		if _, ok := s.matchLine(documented, strings.Replace(line, "#", other, 1), false); ok != any {
			t.Errorf("%q with another digest: %v", line, ok)
		}
	}
	if !ofContent.MatchString("digest " + one) {
		t.Error("no line is compared")
	}
}
