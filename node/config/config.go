package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/members"
)

// ConfigFormat is the version of the config that this build reads and writes.
const ConfigFormat = 1

// Off turns off what has no natural zero, such as the HTTP port.
const Off = "off"

// Config is what one replica may choose for itself.
type Config struct {
	// Format is ConfigFormat.
	Format int `yaml:"format"`
	// Member is the name in the manifest that the key in this home is for. Empty: the
	// one that has the key.
	Member string `yaml:"member,omitempty"`
	// Listen are the addresses to listen on, "host:port". Empty: those of the manifest.
	Listen []string `yaml:"listen,flow,omitempty"`
	// HTTP is the address of metrics, /healthz and /readyz, or Off.
	HTTP string `yaml:"http"`
	// Discovery is the name under which the replica announces itself on the local network, or Off.
	Discovery string `yaml:"discovery"`
	// Data is the directory of the database, relative to the home unless absolute.
	Data string `yaml:"data"`
	// Log says what is logged.
	Log Log `yaml:"log"`
	// Members says how the replica watches the others.
	Members Members `yaml:"members"`
	// Limits bound what the replica uses.
	Limits Limits `yaml:"limits"`
}

// Members says when a replica holds another for silent; see package members. It serves people and clients, not the protocol.
type Members struct {
	// Heartbeat is the time between two of this replica's ticks, at each of which it sends a heartbeat.
	Heartbeat Duration `yaml:"heartbeat"`
	// AwaitingAfter, UnresponsiveAfter and DisconnectedAfter are the numbers of ticks after which a member that
	// is silent for longer is in these states.
	AwaitingAfter     int `yaml:"awaiting_after"`
	UnresponsiveAfter int `yaml:"unresponsive_after"`
	DisconnectedAfter int `yaml:"disconnected_after"`
	// TableLog is the time between two logs of the whole table; 0: never.
	TableLog Duration `yaml:"table_log"`
}

func (m *Members) table() members.Config {
	return members.Config{Interval: time.Duration(m.Heartbeat), AwaitingAfter: m.AwaitingAfter, UnresponsiveAfter: m.UnresponsiveAfter,
		DisconnectedAfter: m.DisconnectedAfter}
}

func defaultMembers() Members {
	c := members.DefaultConfig()
	return Members{Heartbeat: Duration(c.Interval), AwaitingAfter: c.AwaitingAfter, UnresponsiveAfter: c.UnresponsiveAfter,
		DisconnectedAfter: c.DisconnectedAfter, TableLog: Duration(20 * time.Second)}
}

// Log says what a replica writes to its standard error.
type Log struct {
	// Level is debug, info, warn or error.
	Level string `yaml:"level"`
	// Subsystems overrides Level by subsystem.
	Subsystems map[string]string `yaml:"subsystems,omitempty"`
	// Format is text or json.
	Format string `yaml:"format"`
}

// Limits bound what one replica uses. They may differ between replicas.
type Limits struct {
	// Memory is the size at which the garbage collector works harder; 0: none.
	Memory Bytes `yaml:"memory"`
	// BatchOps and BatchSize bound a proposal of this replica as primary.
	BatchOps  int   `yaml:"batch_ops"`
	BatchSize Bytes `yaml:"batch_size"`
	// Pool bounds the waiting bundles of all clients; PoolFloor operations may always wait.
	Pool      Bytes `yaml:"pool"`
	PoolFloor int   `yaml:"pool_floor"`
	// Clients bounds the client connections, ConnectionsPerClient those of one key,
	// ConnectionsPerAddress those from one IP address.
	Clients               int `yaml:"clients"`
	ConnectionsPerClient  int `yaml:"connections_per_client"`
	ConnectionsPerAddress int `yaml:"connections_per_address"`
	// PeerQueue and ClientQueue bound the frames that wait for one replica and one client.
	PeerQueue   Bytes `yaml:"peer_queue"`
	ClientQueue Bytes `yaml:"client_queue"`
}

// DefaultConfig returns the defaults that docs/configuration.md lists.
func DefaultConfig() *Config {
	c := bft.DefaultConfig()
	return &Config{
		Format: ConfigFormat, HTTP: "127.0.0.1:9470", Discovery: Off, Data: "data",
		Log:     Log{Level: "info", Format: "text"},
		Members: defaultMembers(),
		Limits: Limits{
			Memory:   1 << 30,
			BatchOps: c.MaxBatchOps, BatchSize: Bytes(c.MaxBatchBytes),
			Pool: Bytes(c.MaxPoolBytes), PoolFloor: c.PoolFloor,
			Clients: 1024, ConnectionsPerClient: 256, ConnectionsPerAddress: 2048,
			PeerQueue: 64 << 20, ClientQueue: 16 << 20,
		},
	}
}

// ReadConfig reads and validates the config in a file.
func ReadConfig(path string) (*Config, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return ParseConfig(path, data)
}

// ParseConfig reads and validates a config; what it leaves out takes its default.
// Errors are one line that begins with name.
func ParseConfig(name string, data []byte) (*Config, error) {
	c := DefaultConfig()
	c.Format = 0 // must be stated, so that a later format is not misread
	if err := decode(name, data, c); err != nil {
		return nil, err
	}
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, oneLine(err))
	}
	return c, nil
}

// Encode returns the config as a file that [ParseConfig] reads back equal.
func (c *Config) Encode() []byte {
	return encode("The config of one replica: what it may choose for itself.\n"+
		"Keys, bounds and units: docs/configuration.md\n", c)
}

// Validate says what is wrong with c, all at once. Bounds that depend on the
// manifest are checked by [Config.Core].
func (c *Config) Validate() error {
	if c.Format != ConfigFormat {
		return fmt.Errorf("format: %d, this build reads format %d", c.Format, ConfigFormat)
	}
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	for _, a := range c.Listen {
		if err := CheckAddress(a); err != nil {
			errs = append(errs, fmt.Errorf("listen: %w", err))
		}
	}
	if err := checkHTTP(c.HTTP); err != nil {
		errs = append(errs, err)
	}
	bad(ValidName(c.Discovery), "discovery: %q is neither off nor a name of 1 to 63 lower-case letters, digits and inner hyphens", c.Discovery)
	bad(c.Data != "", "data: the name of a directory is needed")
	errs = append(errs, c.Log.validate()...)
	times := c.Members.table()
	if err := times.ValidateTimes(); err != nil {
		errs = append(errs, fmt.Errorf("members: %w", oneLine(err)))
	}
	bad(c.Members.TableLog == 0 || c.Members.TableLog >= c.Members.Heartbeat, "members.table_log: %v is less than the heartbeat, and not 0 for no log", c.Members.TableLog)
	l := &c.Limits
	bad(l.Memory == 0 || l.Memory >= 128<<20, "limits.memory: %s is less than 128MiB, and not 0 for no limit", l.Memory)
	for _, v := range []struct {
		name     string
		v        int
		min, max int
	}{
		{"clients", l.Clients, 1, 1 << 20},
		{"connections_per_client", l.ConnectionsPerClient, 1, 1 << 20},
		{"connections_per_address", l.ConnectionsPerAddress, 1, 1 << 20},
	} {
		bad(v.v >= v.min && v.v <= v.max, "limits.%s: %d is not within %d and %d", v.name, v.v, v.min, v.max)
	}
	for _, v := range []struct {
		name string
		v    Bytes
	}{{"peer_queue", l.PeerQueue}, {"client_queue", l.ClientQueue}} {
		bad(v.v >= minQueue && v.v <= 1<<30, "limits.%s: %s is not within %s and 1GiB", v.name, v.v, minQueue)
	}
	return errors.Join(errs...)
}

func (l *Log) validate() (errs []error) {
	if !isLevel(l.Level) {
		errs = append(errs, fmt.Errorf("log.level: %q is not debug, info, warn or error", l.Level))
	}
	for _, name := range slices.Sorted(maps.Keys(l.Subsystems)) {
		if level := l.Subsystems[name]; !isLevel(level) {
			errs = append(errs, fmt.Errorf("log.subsystems: %q of %s is not debug, info, warn or error", level, name))
		}
	}
	if l.Format != "text" && l.Format != "json" {
		errs = append(errs, fmt.Errorf("log.format: %q is not text or json", l.Format))
	}
	return errs
}

// minQueue holds a frame of the largest size, and its bookkeeping.
const minQueue Bytes = bft.MaxFrameBytes

func isLevel(s string) bool {
	return s == "debug" || s == "info" || s == "warn" || s == "error"
}

// checkHTTP refuses an address that is not loopback: metrics and health are not
// protected by any key.
func checkHTTP(s string) error {
	if s == Off {
		return nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("http: %q is neither host:port nor off", s)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("http: %q is not a loopback address such as 127.0.0.1", host)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("http: %q has no port within 0 and 65535", s)
	}
	return nil
}

// Core returns the configuration of the protocol for a member of m with the
// bounds of c, and an error if they do not fit together.
func (c *Config) Core(m *Manifest, self bft.ReplicaID) (bft.Config, error) {
	core, err := m.Core(self)
	if err != nil {
		return core, err
	}
	core.MaxBatchOps, core.MaxBatchBytes = c.Limits.BatchOps, int(c.Limits.BatchSize)
	core.MaxPoolBytes, core.PoolFloor = int(c.Limits.Pool), c.Limits.PoolFloor
	if err := core.Validate(); err != nil {
		return core, fmt.Errorf("limits: %w", oneLine(err))
	}
	return core, nil
}
