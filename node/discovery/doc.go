// Package discovery finds a cluster by its name on the local network, by multicast DNS (RFC 6762 and 6763), with
// the library that go-libp2p's own mDNS is made of. That one announces libp2p hosts without names, which this is not.
//
// # What is believed
//
// Nothing that is announced. Whoever is on the network can announce any name, so an announcement is only a hint where
// somebody may be asked: it has the cluster id, the key of one replica, and its addresses. The manifest is fetched from there,
// over a channel that is bound to that key, and must have the digest that is the cluster id; it has all keys. If the caller knows
// the cluster id, the manifest that comes is therefore the right one, whoever sent it, and connections to its
// members are bound to their keys: a stranger under the same name is never called. Announcing much, under
// whatever names, keys and ids, does not keep a replica from being asked either, short of a flood that disturbs the network.
//
// A caller that does not know the id yet believes the only cluster that announces the name, once, and has to keep its id.
// If there are several, none is believed.
package discovery
