package config

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
)

// ManifestFormat is the version of the manifest that this build reads and writes.
const ManifestFormat = 1

// MaxServices bounds the services of one cluster.
const MaxServices = 64

// MaxClients bounds the list of admitted clients.
const MaxClients = 4096

// Manifest describes a cluster at its genesis. Every replica and client holds the
// same one; what differs between machines stands in [Config].
type Manifest struct {
	// Format is ManifestFormat.
	Format int `yaml:"format"`
	// Name is for people: 1 to 63 lower-case letters, digits and hyphens.
	Name string `yaml:"name"`
	// Services are the names of the services hosted, in order of the alphabet.
	Services []string `yaml:"services"`
	// Members are the replicas, by bft.ReplicaID.
	Members []Member `yaml:"members"`
	// Clients are the keys that may send operations; nil admits every key.
	Clients []Key `yaml:"clients,omitempty"`
	// Protocol are the parameters that all replicas must share.
	Protocol Protocol `yaml:"protocol"`
}

// Member is one replica of a manifest.
type Member struct {
	// Name is for people, of the same form as a cluster's.
	Name string `yaml:"name"`
	// Key signs the replica's messages and identifies it on every connection.
	Key Key `yaml:"key"`
	// Addresses are where it is reached, "host:port", tried in this order.
	Addresses []string `yaml:"addresses,flow"`
}

// Protocol holds the parameters that must be equal on all replicas; see
// [bft.Config] and, from Sessions on, [exec.Limits] for their meaning, and
// docs/configuration.md for their bounds.
type Protocol struct {
	CheckpointInterval uint64   `yaml:"checkpoint_interval"`
	Window             uint64   `yaml:"window"`
	Pipeline           uint64   `yaml:"pipeline"`
	BundleOps          int      `yaml:"bundle_ops"`
	BundleSize         Bytes    `yaml:"bundle_size"`
	OpSize             Bytes    `yaml:"op_size"`
	RequestTimeout     Duration `yaml:"request_timeout"`
	MaxTimeout         Duration `yaml:"max_timeout"`
	SuspectFloor       Duration `yaml:"suspect_floor"`
	StatusInterval     Duration `yaml:"status_interval"`
	ClockAhead         Duration `yaml:"clock_ahead"`
	ClockBehind        Duration `yaml:"clock_behind"`

	Sessions          int      `yaml:"sessions"`
	SessionsPerClient int      `yaml:"sessions_per_client"`
	ClosedSessions    int      `yaml:"closed_sessions"`
	Openings          int      `yaml:"openings"`
	OpeningsPerClient int      `yaml:"openings_per_client"`
	SessionAhead      Duration `yaml:"session_ahead"`
	SessionResults    Bytes    `yaml:"session_results"`
	ClientResults     Bytes    `yaml:"client_results"`
	TotalResults      Bytes    `yaml:"total_results"`
}

// bundleOverheadBytes is the room that a bundle of one operation needs beside it:
// headers, signature and the name of the service, generously.
const bundleOverheadBytes = 4096

// defaultOpBytes holds a value of 1 MiB with its key.
const defaultOpBytes = 1028 << 10

// DefaultProtocol returns the parameters of [bft.DefaultConfig] and
// [exec.DefaultLimits], and operations of at most 1,028 KiB.
func DefaultProtocol() Protocol {
	c, l := bft.DefaultConfig(), exec.DefaultLimits()
	return Protocol{
		CheckpointInterval: uint64(c.Interval), Window: uint64(c.Window), Pipeline: uint64(c.Pipeline),
		BundleOps: c.MaxBundleOps, BundleSize: Bytes(c.MaxBundleBytes), OpSize: defaultOpBytes,
		RequestTimeout: Duration(c.RequestTimeout), MaxTimeout: Duration(c.MaxTimeout),
		SuspectFloor: Duration(c.SuspectFloor), StatusInterval: Duration(c.StatusInterval),
		ClockAhead: Duration(c.ClockAhead), ClockBehind: Duration(c.ClockBehind),
		Sessions: l.MaxSessions, SessionsPerClient: l.SessionsPerClient, ClosedSessions: l.MaxClosed,
		Openings: l.MaxOpenings, OpeningsPerClient: l.OpeningsPerClient, SessionAhead: Duration(l.MaxAhead),
		SessionResults: Bytes(l.SessionResultBytes), ClientResults: Bytes(l.ClientResultBytes), TotalResults: Bytes(l.TotalResultBytes),
	}
}

// NewManifest returns a manifest of the services and members with the default
// protocol. The caller validates it once it is complete.
func NewManifest(name string, services []string, members []Member) *Manifest {
	m := &Manifest{Format: ManifestFormat, Name: name, Services: slices.Clone(services),
		Members: slices.Clone(members), Protocol: DefaultProtocol()}
	slices.Sort(m.Services)
	return m
}

// ReadManifest reads and validates the manifest in a file.
func ReadManifest(path string) (*Manifest, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return ParseManifest(path, data)
}

// ParseManifest reads and validates a manifest. Errors are one line that begins
// with name, and with the line number where there is one.
func ParseManifest(name string, data []byte) (*Manifest, error) {
	m := &Manifest{Protocol: DefaultProtocol()}
	if err := decode(name, data, m); err != nil {
		return nil, err
	}
	slices.Sort(m.Services)
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, oneLine(err))
	}
	return m, nil
}

// Encode returns the manifest as a file that [ParseManifest] reads back equal.
func (m *Manifest) Encode() []byte {
	return encode("The manifest of a cluster: the same on every replica and client.\n"+
		"Cluster id "+m.ID().String()+"\n"+
		"The id covers everything but the addresses: any other change makes another cluster.\n"+
		"Keys, bounds and units: docs/configuration.md\n", m)
}

var nameText = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// ValidName tells whether s is made of 1 to 63 lower-case letters, digits and inner hyphens, as names of clusters and replicas are.
func ValidName(s string) bool { return nameText.MatchString(s) }

// Validate says what is wrong with m, all at once.
func (m *Manifest) Validate() error {
	if m.Format != ManifestFormat {
		return fmt.Errorf("format: %d, this build reads format %d", m.Format, ManifestFormat)
	}
	errs := []error{m.validateNames(), m.validateMembers(), m.validateClients()}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	p := &m.Protocol
	if p.OpSize < 1 || p.OpSize > p.BundleSize-bundleOverheadBytes {
		return fmt.Errorf("protocol.op_size: %s is not within 1 and bundle_size less %d", p.OpSize, bundleOverheadBytes)
	}
	core, err := m.Core(0)
	if err != nil {
		return err
	}
	// The executor checks its limits with its services; only their bounds matter here.
	sessions := exec.Config{Limits: m.ExecLimits(), Services: []exec.Service{{Name: "any", Machine: struct{ exec.StateMachine }{}}}}
	if err := sessions.Validate(); err != nil {
		return fmt.Errorf("protocol: %w", oneLine(err))
	}
	// What a replica may choose for itself is checked with its config; here it must not
	// be in the way of a large bundle.
	core.MaxBatchOps = max(core.MaxBatchOps, core.MaxBundleOps)
	core.MaxBatchBytes = max(core.MaxBatchBytes, core.MaxBundleBytes)
	core.PoolFloor = max(core.PoolFloor, core.MaxBundleOps)
	if err := core.Validate(); err != nil {
		return fmt.Errorf("protocol: %w", oneLine(err))
	}
	return nil
}

func (m *Manifest) validateNames() error {
	if !nameText.MatchString(m.Name) {
		return fmt.Errorf("name: %q is not made of 1 to 63 lower-case letters, digits and inner hyphens", m.Name)
	}
	if len(m.Services) == 0 || len(m.Services) > MaxServices {
		return fmt.Errorf("services: %d, want 1 to %d names such as kv", len(m.Services), MaxServices)
	}
	for i, s := range m.Services {
		if !exec.ValidServiceName(s) {
			return fmt.Errorf("services: %q is not made of 1 to %d lower-case letters, digits, dots, dashes and underscores", s, exec.MaxServiceName)
		}
		if i > 0 && m.Services[i-1] == s {
			return fmt.Errorf("services: %q stands twice", s)
		}
	}
	return nil
}

func (m *Manifest) validateMembers() error {
	if n := len(m.Members); n < 4 || n > bft.MaxMembers {
		return fmt.Errorf("members: %d, but 4 to %d are supported (4 tolerate one fault)", n, bft.MaxMembers)
	}
	var errs []error
	names, addresses := map[string]int{}, map[string]string{}
	for i := range m.Members {
		r := &m.Members[i]
		if !nameText.MatchString(r.Name) {
			errs = append(errs, fmt.Errorf("members: name %q of replica %d is not made of 1 to 63 lower-case letters, digits and inner hyphens", r.Name, i))
		}
		if j, ok := names[r.Name]; ok {
			errs = append(errs, fmt.Errorf("members: replicas %d and %d are both named %q", j, i, r.Name))
		}
		names[r.Name] = i
		if len(r.Addresses) == 0 {
			errs = append(errs, fmt.Errorf("members: %s has no address", r.Name))
		}
		for _, a := range r.Addresses {
			if err := CheckAddress(a); err != nil {
				errs = append(errs, fmt.Errorf("members: %s: %w", r.Name, err))
			}
			if other, ok := addresses[a]; ok {
				errs = append(errs, fmt.Errorf("members: address %s of %s is also that of %s", a, r.Name, other))
			}
			addresses[a] = r.Name
		}
	}
	if _, err := crypto.NewKeyRing(m.Keys()); err != nil {
		errs = append(errs, fmt.Errorf("members: %w", err))
	}
	return errors.Join(errs...)
}

func (m *Manifest) validateClients() error {
	if m.Clients != nil && len(m.Clients) == 0 {
		return errors.New("clients: an empty list would admit nobody; leave the key out to admit everyone")
	}
	if len(m.Clients) > MaxClients {
		return fmt.Errorf("clients: %d, at most %d are supported", len(m.Clients), MaxClients)
	}
	return nil
}

// CheckAddress tells whether s is "host:port" with a port from 1 to 65535.
func CheckAddress(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return fmt.Errorf("address %q is not of the form host:port", s)
	}
	if p, err := strconv.ParseUint(port, 10, 16); err != nil || p == 0 {
		return fmt.Errorf("address %q: the port is not within 1 and 65535", s)
	}
	return nil
}

// Keys returns the members' keys, by bft.ReplicaID.
func (m *Manifest) Keys() []crypto.PublicKey {
	keys := make([]crypto.PublicKey, len(m.Members))
	for i := range m.Members {
		keys[i] = m.Members[i].Key.PublicKey
	}
	return keys
}

// Find returns the index of the member with this name, or index in decimal.
func (m *Manifest) Find(name string) (bft.ReplicaID, bool) {
	for i := range m.Members {
		if m.Members[i].Name == name || strconv.Itoa(i) == name {
			return bft.ReplicaID(i), true
		}
	}
	return 0, false
}

// Admits tells whether a client with this key may send operations.
func (m *Manifest) Admits(client crypto.PublicKey) bool {
	return m.Clients == nil || slices.Contains(m.Clients, Key{client})
}

// ID is the cluster id: the digest of the parsed content in a fixed order, so that
// neither comments nor layout count, and defaults count as if they were written.
// Addresses are left out: they say where a member is found, its key says who it
// is, and a replica may move to another machine without a new cluster.
func (m *Manifest) ID() crypto.Digest {
	h := crypto.NewHasher("baluarte/manifest")
	h.Uint64(uint64(m.Format))
	h.Part([]byte(m.Name))
	services := slices.Sorted(slices.Values(m.Services))
	h.Uint64(uint64(len(services)))
	for _, s := range services {
		h.Part([]byte(s))
	}
	h.Uint64(uint64(len(m.Members)))
	for i := range m.Members {
		h.Part([]byte(m.Members[i].Name))
		h.Part(m.Members[i].Key.PublicKey[:])
	}
	hashClients(h, m.Clients)
	p := &m.Protocol
	for _, v := range []uint64{p.CheckpointInterval, p.Window, p.Pipeline,
		uint64(p.BundleOps), uint64(p.BundleSize), uint64(p.OpSize),
		uint64(p.RequestTimeout), uint64(p.MaxTimeout), uint64(p.SuspectFloor), uint64(p.StatusInterval),
		uint64(p.ClockAhead), uint64(p.ClockBehind),
		uint64(p.Sessions), uint64(p.SessionsPerClient), uint64(p.ClosedSessions),
		uint64(p.Openings), uint64(p.OpeningsPerClient), uint64(p.SessionAhead),
		uint64(p.SessionResults), uint64(p.ClientResults), uint64(p.TotalResults)} {
		h.Uint64(v)
	}
	return h.Sum()
}

// hashClients adds the admitted clients as a set; a list, even of none, differs
// from no list.
func hashClients(h *crypto.Hasher, clients []Key) {
	if clients == nil {
		h.Uint64(0)
		return
	}
	sorted := slices.Clone(clients)
	slices.SortFunc(sorted, func(a, b Key) int { return bytes.Compare(a.PublicKey[:], b.PublicKey[:]) })
	sorted = slices.Compact(sorted)
	h.Uint64(1 + uint64(len(sorted)))
	for i := range sorted {
		h.Part(sorted[i].PublicKey[:])
	}
}

// Core returns the configuration of the protocol for one member, with the
// defaults of what a replica may choose for itself.
func (m *Manifest) Core(self bft.ReplicaID) (bft.Config, error) {
	if int(self) >= len(m.Members) {
		return bft.Config{}, fmt.Errorf("replica %d is not one of the %d members", self, len(m.Members))
	}
	c := bft.DefaultConfig()
	p := &m.Protocol
	c.Self, c.Cluster, c.Members = self, m.ID(), m.Keys()
	c.Interval, c.Window, c.Pipeline = bft.Seq(p.CheckpointInterval), bft.Seq(p.Window), bft.Seq(p.Pipeline)
	c.MaxBundleOps, c.MaxBundleBytes, c.MaxOpBytes = p.BundleOps, int(p.BundleSize), int(p.OpSize)
	c.RequestTimeout, c.MaxTimeout = bft.Time(p.RequestTimeout), bft.Time(p.MaxTimeout)
	c.SuspectFloor, c.StatusInterval = bft.Time(p.SuspectFloor), bft.Time(p.StatusInterval)
	c.ClockAhead, c.ClockBehind = bft.Time(p.ClockAhead), bft.Time(p.ClockBehind)
	for _, k := range m.Clients {
		c.Clients = append(c.Clients, k.PublicKey)
	}
	return c, nil
}

// ExecLimits returns the bounds on what clients can make a replica keep.
func (m *Manifest) ExecLimits() exec.Limits {
	p := &m.Protocol
	return exec.Limits{
		MaxSessions: p.Sessions, SessionsPerClient: p.SessionsPerClient, MaxClosed: p.ClosedSessions,
		MaxOpenings: p.Openings, OpeningsPerClient: p.OpeningsPerClient, MaxAhead: bft.Time(p.SessionAhead),
		SessionResultBytes: int(p.SessionResults), ClientResultBytes: int(p.ClientResults), TotalResultBytes: int(p.TotalResults),
	}
}

// oneLine joins the lines of a gathered error.
func oneLine(err error) error {
	lines := bytes.Split([]byte(err.Error()), []byte("\n"))
	if len(lines) == 1 {
		return err
	}
	if len(lines) > maxReported {
		more := fmt.Sprintf("and %d more", len(lines)-maxReported)
		lines = append(lines[:maxReported], []byte(more))
	}
	return errors.New(string(bytes.Join(lines, []byte("; "))))
}
