package byz

import (
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
)

// clientele is what accomplices know of clients.
type clientele struct {
	// ours belong to the adversary; met are the others that were heard of.
	ours, met []bft.ClientID
}

// enlist notes a client of the adversary.
func (c *clientele) enlist(id bft.ClientID) { c.ours = append(c.ours, id) }

// meet notes whoever sends requests.
func (c *clientele) meet(id bft.ClientID) {
	if !slices.Contains(c.ours, id) && !slices.Contains(c.met, id) {
		c.met = append(c.met, id)
	}
}
