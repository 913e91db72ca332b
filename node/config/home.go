package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
)

// What stands where in the home directory of a replica. The directory of a
// cluster on one machine holds a manifest, a client's key, and one home for each
// replica, named like the member.
const (
	KeyFile       = "key"           // private key of the replica, mode 0600
	ManifestFile  = "manifest.yaml" // the cluster's manifest
	ConfigFile    = "config.yaml"   // what this replica chose for itself; may be missing
	BornFile      = "born"          // says that the data was begun; outlives the data
	LogFile       = "log"           // what the replica wrote to its standard error under `up`
	LockFile      = "lock"          // held by the process that runs the replica
	ClientKeyFile = "client.key"    // in the directory of a cluster: private key of its client
)

// Home is the home directory of a replica, read and found consistent.
type Home struct {
	// Dir is its path.
	Dir string
	// Self is the replica's index in the manifest.
	Self bft.ReplicaID
	// Key is the replica's private key.
	Key *crypto.PrivateKey
	// Manifest and Config are the parsed files.
	Manifest *Manifest
	Config   *Config
	// Core is the configuration of the protocol that follows from them.
	Core bft.Config
}

// OpenHome reads the home directory of a replica. The passphrase is asked for only
// if the key file is encrypted, and may be nil. Errors are one line: what is
// missing, malformed, readable by others, or does not fit together.
func OpenHome(dir string, passphrase func() ([]byte, error)) (*Home, error) {
	h := &Home{Dir: dir}
	if info, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("home directory: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("home directory: %s is not a directory", dir)
	}
	var err error
	if h.Manifest, err = ReadManifest(h.Path(ManifestFile)); err != nil {
		return nil, err
	}
	h.Config, err = ReadConfig(h.Path(ConfigFile))
	if errors.Is(err, fs.ErrNotExist) {
		h.Config, err = DefaultConfig(), nil
	}
	if err != nil {
		return nil, err
	}
	if h.Key, err = crypto.ReadKeyFile(h.Path(KeyFile), passphrase); err != nil {
		return nil, err
	}
	if h.Self, err = h.findSelf(); err != nil {
		return nil, err
	}
	if h.Core, err = h.Config.Core(h.Manifest, h.Self); err != nil {
		return nil, fmt.Errorf("%s: %w", h.Path(ConfigFile), err)
	}
	return h, nil
}

// Path returns the path of a file in the home.
func (h *Home) Path(name string) string { return filepath.Join(h.Dir, name) }

// DataDir is the directory of the database.
func (h *Home) DataDir() string {
	if filepath.IsAbs(h.Config.Data) {
		return h.Config.Data
	}
	return h.Path(h.Config.Data)
}

// Member is this replica's entry in the manifest.
func (h *Home) Member() *Member { return &h.Manifest.Members[h.Self] }

// Listen are the addresses to listen on.
func (h *Home) Listen() []string {
	if len(h.Config.Listen) > 0 {
		return h.Config.Listen
	}
	return h.Member().Addresses
}

// findSelf finds the member that the key is for, and refuses a key that is not the
// one the manifest lists.
func (h *Home) findSelf() (bft.ReplicaID, error) {
	pub := h.Key.Public()
	self, listed := bft.ReplicaID(0), false
	for i, k := range h.Manifest.Keys() {
		if k == pub {
			self, listed = bft.ReplicaID(i), true
		}
	}
	name := h.Config.Member
	if name == "" {
		if !listed {
			return 0, fmt.Errorf("key file %s has public key %s, the manifest %s lists it for no replica: one of the two is wrong",
				h.Path(KeyFile), pub, h.Path(ManifestFile))
		}
		return self, nil
	}
	want, ok := h.Manifest.Find(name)
	if !ok {
		return 0, fmt.Errorf("%s: member: the manifest lists no replica %q", h.Path(ConfigFile), name)
	}
	if k := h.Manifest.Members[want].Key.PublicKey; k != pub {
		return 0, fmt.Errorf("key file %s has public key %s, the manifest %s lists %s for replica %d (%s): one of the two is wrong",
			h.Path(KeyFile), pub, h.Path(ManifestFile), k, want, h.Manifest.Members[want].Name)
	}
	return want, nil
}

// WriteFile writes a new file durably, directory entry included; a file that
// exists is left alone and refused.
func WriteFile(path string, data []byte, mode fs.FileMode) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(path)
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = SyncDir(filepath.Dir(path))
	}
	return err
}

// SyncDir makes the entries of a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
