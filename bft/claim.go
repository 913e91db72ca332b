package bft

import (
	"fmt"

	"github.com/baluarte-bft/baluarte/bft/bftpb"
)

// MaxInstance bounds the name of an instance, in bytes.
const MaxInstance = 64

// Claim is what a client asks of the session that it opens, so that what it leaves behind when it dies ends (orphans).
// It is kept at the session by agreement, see package exec.
type Claim struct {
	// Instance names the client among those that have its key; empty: it has no name.
	Instance string
	// Replace says which older sessions of (key, instance) end with the opening of this one.
	Replace Replacement
	// Grace is the agreed time within which an older session must be used, with ReplaceSilent, else 0.
	Grace Time
	// Lease is the agreed time for which the session lives on after each use; 0: as long as any session.
	Lease Time
}

// Replacement says which older sessions of an instance a new one ends.
type Replacement uint8

// The replacements. Older is what has a lower NotAfter, the client's clock when it opened: an opening that is ordered
// after that of a newer session is refused, or is in doubt from its beginning.
const (
	// ReplaceNone: they go on beside each other.
	ReplaceNone Replacement = iota
	// ReplaceAll: they end at once (reincarnation).
	ReplaceAll
	// ReplaceSilent: they end unless a new operation of theirs is ordered within Grace (gentle reincarnation).
	ReplaceSilent
	replacementEnd
)

// String names the replacement.
func (r Replacement) String() string {
	switch r {
	case ReplaceNone:
		return "none"
	case ReplaceAll:
		return "all"
	case ReplaceSilent:
		return "silent"
	}
	return fmt.Sprintf("replacement %d", uint8(r))
}

// check says what is wrong with c.
func (c *Claim) check() error {
	switch {
	case len(c.Instance) > MaxInstance:
		return fmt.Errorf("instance of %d bytes, the limit is %d", len(c.Instance), MaxInstance)
	case c.Replace >= replacementEnd:
		return fmt.Errorf("unknown %v", c.Replace)
	case c.Replace != ReplaceNone && c.Instance == "":
		return fmt.Errorf("replacing %v without an instance", c.Replace)
	case (c.Replace == ReplaceSilent) != (c.Grace > 0) || c.Grace < 0:
		return fmt.Errorf("replacing %v with a grace of %d", c.Replace, c.Grace)
	case c.Lease < 0:
		return fmt.Errorf("lease of %d", c.Lease)
	}
	return nil
}

// claimFrom reads the claim of a bundle.
func claimFrom(p *bftpb.Bundle, opens bool) (*Claim, error) {
	if len(p.Instance) == 0 && p.Replace == 0 && p.Grace == 0 && p.Lease == 0 {
		return nil, nil
	}
	if !opens || p.Replace >= uint32(replacementEnd) || p.Grace > 1<<62 || p.Lease > 1<<62 {
		return nil, fmt.Errorf("%w: claim outside an opening, or out of range", ErrInvalid)
	}
	c := &Claim{Instance: string(p.Instance), Replace: Replacement(p.Replace), Grace: Time(p.Grace), Lease: Time(p.Lease)}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return c, nil
}
