package node

import "github.com/baluarte-bft/baluarte/node/discovery"

// announce has the replica found by its cluster's name, if it is told to. Where that is not possible it serves all the same: those
// who have the manifest find it.
func (n *Node) announce() {
	o := &n.opts
	if o.Discovery == "" {
		return
	}
	self := o.Core.Self
	a, err := discovery.Announce(discovery.Announcement{Name: o.Discovery, Cluster: o.Core.Cluster, Key: o.Core.Members[self],
		Member: o.Names[self], Addresses: o.Addrs[self]})
	if err != nil {
		log.Warnf("%s is not found by the name %s: %v", o.Names[self], o.Discovery, err)
		return
	}
	n.announcer = a
	log.Infof("%s announces itself as one of %s", o.Names[self], o.Discovery)
}
