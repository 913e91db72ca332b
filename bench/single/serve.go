package single

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/app/builtin"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/node/config"
)

// gcPercent is that of a replica.
const gcPercent = 200

// readyWord begins the line that Serve writes.
const readyWord = "ready"

// ServeOptions are those of a process that is a server.
type ServeOptions struct {
	// Dir holds the key and the data of the server, and is made if it is not there.
	Dir string
	// Like is the path of the manifest of the cluster whose services and parameters it takes over; empty:
	// counter and kv with the defaults.
	Like string
	// Listen is the address for clients, HTTP that of the metrics.
	Listen, HTTP string
}

// Serve runs a server until ctx ends. Once it takes clients it writes the line that ParseReady reads to ready.
// Errors are one line that says what to do.
func Serve(ctx context.Context, o ServeOptions, ready io.Writer) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	like := config.NewManifest("defaults", []string{"counter", "kv"}, nil)
	if o.Like != "" {
		var err error
		if like, err = config.ReadManifest(o.Like); err != nil {
			return wrong.File(o.Like, err, "name the manifest of a cluster with --like")
		}
	}
	services := map[string]exec.Factory{}
	for _, name := range like.Services {
		f, ok := builtin.Lookup(name)
		if !ok {
			return fmt.Errorf("the manifest %s has the service %q, which this program does not: it has %s", o.Like, name, strings.Join(builtin.Names(), ", "))
		}
		services[name] = f
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return wrong.File(o.Dir, err, "name another directory with --dir")
	}
	key, err := serverKey(filepath.Join(o.Dir, config.KeyFile))
	if err != nil {
		return err
	}
	s, err := Start(Options{Key: key, Like: like, Services: services, Listen: o.Listen, HTTP: o.HTTP, Dir: filepath.Join(o.Dir, "data")})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(ready, readyWord, s.Addr(), key.Public()); err != nil {
		return errors.Join(err, s.Close())
	}
	<-ctx.Done()
	return s.Close()
}

// serverKey reads the key of an earlier start, or makes one.
func serverKey(path string) (*crypto.PrivateKey, error) {
	key, err := crypto.ReadKeyFile(path, nil)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if key, err = crypto.GenerateKey(nil); err != nil {
		return nil, err
	}
	return key, crypto.WriteKeyFile(path, key, nil)
}

// ParseReady reads the line that a server writes when it takes clients: its address and its key. It is false for
// any other line.
func ParseReady(line string) (address string, key crypto.PublicKey, ok bool) {
	words := strings.Fields(line)
	if len(words) != 3 || words[0] != readyWord {
		return "", key, false
	}
	key, err := crypto.ParsePublicKey(words[2])
	return words[1], key, err == nil
}
