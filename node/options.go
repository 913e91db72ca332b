package node

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/config"
	"github.com/baluarte-bft/baluarte/node/store"
	"github.com/baluarte-bft/baluarte/node/transport"
)

// Options say what a node is. HomeOptions makes them from a replica's home directory.
type Options struct {
	// Key is the private key of member Core.Self.
	Key *crypto.PrivateKey
	// Core is the protocol's configuration, with Self, Cluster and Members.
	Core bft.Config
	// Names and Addrs of the members, by bft.ReplicaID. A member may have several addresses.
	Names []string
	Addrs [][]string
	// Manifest is the cluster's manifest as a file, for clients that found this replica by the cluster's name; empty: it hands out none.
	Manifest []byte
	// Discovery is the name under which the replica announces itself on the local network, or empty for not at all.
	Discovery string
	// Listen are the addresses to listen on, "host:port".
	Listen []string
	// HTTP is the address for metrics and health, or empty for none.
	HTTP string
	// Dir is the directory of the store, made by InitDir.
	Dir string
	// Services are what the cluster hosts, by name.
	Services map[string]exec.Factory
	// Exec are the limits of sessions, equal at all replicas.
	Exec exec.Limits
	// Members says how the others are watched. The zero value means DefaultMembers.
	Members Members
	// Transport bounds connections and their queues. Zero fields have defaults.
	Transport transport.Limits
	// AdmitClient decides which clients may connect; nil admits all.
	AdmitClient func(crypto.PublicKey) error
	// AcceptLoss makes the replica begin anew, without a vote, if its store is damaged or gone. The
	// operator decides this: what it promised before is forgotten.
	AcceptLoss bool
	// FS is nil for the operating system's files.
	FS vfs.FS
	// Fatal ends the process when the disk failed or a service could not go on. It must not return.
	// nil: a line to the standard error, and exit status 1.
	Fatal func(error)
}

// HomeOptions are the options of the replica with this home directory.
func HomeOptions(h *config.Home, services map[string]exec.Factory) Options {
	o := Options{Key: h.Key, Core: h.Core, Listen: h.Listen(), Dir: h.DataDir(), Services: services, Exec: h.Manifest.ExecLimits()}
	for _, m := range h.Manifest.Members {
		o.Names = append(o.Names, m.Name)
		o.Addrs = append(o.Addrs, m.Addresses)
	}
	o.Manifest = h.Manifest.Encode()
	if h.Config.Discovery != config.Off {
		o.Discovery = h.Config.Discovery
	}
	if h.Config.HTTP != config.Off {
		o.HTTP = h.Config.HTTP
	}
	if len(h.Manifest.Clients) > 0 {
		o.AdmitClient = func(k crypto.PublicKey) error {
			if !h.Manifest.Admits(k) {
				return fmt.Errorf("the manifest of this cluster does not list client key %s", k.Fingerprint())
			}
			return nil
		}
	}
	m := &h.Config.Members
	o.Members = Members{Interval: time.Duration(m.Heartbeat), AwaitingAfter: m.AwaitingAfter, UnresponsiveAfter: m.UnresponsiveAfter,
		DisconnectedAfter: m.DisconnectedAfter, LogEvery: time.Duration(m.TableLog)}
	l := &h.Config.Limits
	o.Transport = transport.Limits{MaxClients: l.Clients, MaxConnsPerKey: l.ConnectionsPerClient,
		MaxConnsPerIP: l.ConnectionsPerAddress, PeerQueueBytes: int(l.PeerQueue), ClientQueueBytes: int(l.ClientQueue)}
	return o
}

// InitDir makes the store of a replica and its birth record, once in its life.
// The error is store.ErrInitialised if dir has one.
func InitDir(dir string, core bft.Config) error { return store.Init(nil, dir, identity(core)) }

func identity(c bft.Config) store.Identity {
	return store.Identity{Cluster: c.Cluster, Member: c.Members[c.Self]}
}

func (o *Options) complete() error {
	if err := o.Core.Validate(); err != nil {
		return fmt.Errorf("node: %w", err)
	}
	n := o.Core.N()
	if o.Key == nil || o.Key.Public() != o.Core.Members[o.Core.Self] {
		return errors.New("node: the key is not that of the member that this replica is")
	}
	if len(o.Addrs) != n {
		return fmt.Errorf("node: addresses of %d members, there are %d", len(o.Addrs), n)
	}
	for len(o.Names) < n {
		o.Names = append(slices.Clone(o.Names), fmt.Sprintf("r%d", len(o.Names)))
	}
	if len(o.Services) == 0 {
		return errors.New("node: no service to host")
	}
	if o.Members == (Members{}) {
		o.Members = DefaultMembers()
	}
	// A frame of the protocol must fit, also in the queue of a client that fetches large results.
	if o.Transport.MaxFrameBytes == 0 {
		o.Transport.MaxFrameBytes = bft.MaxFrameBytes
	}
	if o.Transport.ClientQueueBytes == 0 {
		o.Transport.ClientQueueBytes = 2 * bft.MaxFrameBytes
	}
	o.Transport.ClientQueueBytes = max(o.Transport.ClientQueueBytes, o.Transport.MaxFrameBytes+1024)
	return nil
}
