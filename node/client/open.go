package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/config"
)

// Open makes a client of the cluster whose directory is dir, as `up` or `init --dir` make it: it
// reads manifest.yaml and client.key there, and is otherwise as [Dial]. The error says which of the
// two is missing or malformed.
func Open(ctx context.Context, dir string, opts ...Option) (*Client, error) {
	path := filepath.Join(dir, config.ManifestFile)
	manifest, err := config.ReadManifest(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("client: there is no %s: name the directory of a cluster that up has made, or put its manifest there", path)
	}
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	path = filepath.Join(dir, config.ClientKeyFile)
	key, err := crypto.ReadKeyFile(path, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("client: there is no %s: make it with init --dir %s", path, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return Dial(ctx, manifest, key, opts...)
}
