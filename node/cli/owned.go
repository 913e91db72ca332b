package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/node/config"
)

// The advice on keys that cannot be used. The key of a replica cannot be replaced: the manifest lists it.
const (
	doClientKey  = "put it back from a copy, or move it away and make another with init --dir %s"
	doReplicaKey = "put it back from a copy; no other key can take its place, for the manifest lists it"
)

// badFile words the failure of reading what a command needs in its directories: with the file at fault, which is path unless
// err tells of another one. do says what to do about a file that is wrong.
func badFile(path string, err error, do string) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		path = at.Path
	}
	switch {
	case err == nil || wrong.Is(err):
		return err
	case errors.Is(err, fs.ErrPermission):
		return wrong.File(path, err, "run the command as the user who owns it, or "+do)
	case errors.Is(err, crypto.ErrKeyFileMode): // which says what to do
		return &wrong.Error{Err: err}
	case isNoKey(err):
		return wrong.Errorf("%w: %s", err, do)
	}
	return wrong.File(path, err, do)
}

// isNoKey tells whether a file that can be read has no key in it that can be used.
func isNoKey(err error) bool {
	return errors.Is(err, crypto.ErrNotKeyFile) || errors.Is(err, crypto.ErrKeyFileVersion) ||
		errors.Is(err, crypto.ErrKeyFileDamaged) || errors.Is(err, crypto.ErrKeyFileParameter)
}

// readClientKey reads the client key of a directory. It is never encrypted when a command made it.
func readClientKey(dir string) (*crypto.PrivateKey, error) {
	path := filepath.Join(dir, config.ClientKeyFile)
	key, err := crypto.ReadKeyFile(path, nil)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &wrong.Error{Err: &missingKey{path, dir, err}}
	case errors.Is(err, crypto.ErrPassphraseNeeded):
		return nil, wrong.Errorf("%w: commands sign with a key that has none, %s", err, fmt.Sprintf(doClientKey, dir))
	}
	return key, badFile(path, err, fmt.Sprintf(doClientKey, dir))
}

// missingKey says how a client key is made.
type missingKey struct {
	path, dir string
	cause     error
}

func (m *missingKey) Error() string {
	return fmt.Sprintf("there is no client key %s: make one with init --dir %s", m.path, m.dir)
}

func (m *missingKey) Unwrap() error { return m.cause }

// badHome words the failure of opening the home of a replica.
func badHome(dir string, err error, do string) error {
	if isNoKey(err) {
		do = doReplicaKey
	}
	return badFile(dir, err, do)
}

// lockFailed words the failure of locking a file of the directory that --dir or --home names.
func lockFailed(path string, err error, flag string) error {
	return badFile(path, err, "name another directory with "+flag)
}
