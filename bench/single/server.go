package single

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/config"
	"github.com/baluarte-bft/baluarte/node/store"
	"github.com/baluarte-bft/baluarte/node/transport"
	"github.com/baluarte-bft/baluarte/node/verify"
)

// Name is that of the server in its manifest.
const Name = "server"

const (
	// clientKeys is how many client keys' tables are kept, verifyClaims how many signatures wait to be
	// verified: as a replica does.
	clientKeys   = 4096
	verifyClaims = 1 << 14
	// waitingBundles bounds the bundles that wait for a batch; beyond it, and beyond the bytes of a replica's
	// pool, clients get Busy.
	waitingBundles = 16384
)

// Manifest is the manifest of a server without replicas, with the services and the protocol's parameters of a
// cluster. It is for clients that are told so, and for nobody else: a manifest of one member is refused
// everywhere.
func Manifest(like *config.Manifest, key crypto.PublicKey, address string) *config.Manifest {
	m := config.NewManifest("unreplicated", like.Services, []config.Member{{Name: Name, Key: config.Key{PublicKey: key}, Addresses: []string{address}}})
	m.Protocol = like.Protocol
	return m
}

// Options say what a server is.
type Options struct {
	// Key is the server's.
	Key *crypto.PrivateKey
	// Like is the manifest of the cluster whose services and parameters it takes over.
	Like *config.Manifest
	// Services are those of Like, by name.
	Services map[string]exec.Factory
	// Listen is the address for clients, HTTP the one for metrics, "host:port"; port 0 takes a free one.
	Listen, HTTP string
	// Dir is the directory of the store, which is made if it is not there.
	Dir string
	// FS is nil for the operating system's files.
	FS vfs.FS
	// Fatal ends the process when the disk failed. It must not return. nil: a line to the standard error,
	// and exit status 1.
	Fatal func(error)
}

// Server is a running server. Its methods may be called by any goroutine.
type Server struct {
	o        Options
	manifest *config.Manifest
	core     bft.Config // bounds of bundles and batches; nothing of it is a replica's
	ctx      context.Context
	cancel   context.CancelFunc
	running  sync.WaitGroup

	store    *store.Store
	net      *transport.Server
	keys     *crypto.Ed25519
	verifier *verify.Pool
	up       chan struct{} // closed when all of this is set: handlers wait for it
	http     *http.Server
	httpAddr string
	metrics  *metrics

	wake chan struct{} // of capacity 1: there is something for loop

	mu             sync.Mutex
	waiting        []request
	waitingBytes   int
	written        *exec.Snapshot // to be written
	snapshotSignal chan struct{}  // of capacity 1

	durable  atomic.Uint64 // LSN
	stable   atomic.Uint64 // number of the newest durable snapshot
	executed atomic.Uint64

	logMu sync.Mutex
	lsn   bft.LSN // of the last record

	// Of the goroutine loop. Others only query the machine.
	machine  *exec.Machine
	seq      bft.Seq // of the last batch that was begun
	inflight *flying
}

// request is a bundle whose signature holds, and where its reply goes.
type request struct {
	bundle  *bft.Bundle
	conn    *transport.ClientConn
	replier bft.ReplicaID
}

// flying is a batch whose record is on its way to the disk.
type flying struct {
	batch    *bft.Batch
	requests []request
	lsn      bft.LSN
}

// Start starts a server. Its errors are one line that says what to do.
func Start(o Options) (*Server, error) {
	if o.Key == nil || o.Like == nil {
		return nil, errors.New("single: a key and the manifest of a cluster are needed")
	}
	s := &Server{o: o, manifest: Manifest(o.Like, o.Key.Public(), o.Listen), wake: make(chan struct{}, 1), up: make(chan struct{}),
		snapshotSignal: make(chan struct{}, 1), keys: crypto.NewEd25519(clientKeys)}
	s.verifier = verify.New(s.keys, runtime.GOMAXPROCS(0), verifyClaims, 0)
	var err error
	if s.core, err = s.manifest.Core(0); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.start(); err != nil {
		s.cancel()
		if s.net != nil {
			err = errors.Join(err, s.net.Close())
		}
		if s.store != nil {
			err = errors.Join(err, s.store.Close())
		}
		return nil, err
	}
	return s, nil
}

func (s *Server) start() error {
	if err := s.openStore(); err != nil {
		return err
	}
	s.metrics = newMetrics(s)
	var err error
	s.net, err = transport.Listen(transport.ServerConfig{Key: s.o.Key, Cluster: s.manifest.ID(),
		Members: []transport.Member{{Key: s.o.Key.Public(), Addrs: []string{s.o.Listen}}}, Listen: []string{s.o.Listen},
		Handler: handler{s}, Limits: transport.Limits{MaxFrameBytes: bft.MaxFrameBytes, ClientQueueBytes: 2 * bft.MaxFrameBytes}})
	if err != nil {
		return fmt.Errorf("single: listening on %s: %w", s.o.Listen, err)
	}
	if err := s.serveHTTP(); err != nil {
		return err
	}
	s.running.Go(s.loop)
	s.running.Go(s.snapshotLoop)
	close(s.up)
	return nil
}

// Addr is where clients reach the server.
func (s *Server) Addr() string { return s.net.Addrs()[0] }

// HTTPAddr is the address of the metrics.
func (s *Server) HTTPAddr() string { return s.httpAddr }

// Close ends the server in order.
func (s *Server) Close() error {
	s.cancel()
	err := errors.Join(s.net.Close(), s.http.Close())
	s.verifier.Drain()
	s.running.Wait()
	s.mu.Lock()
	left := s.written
	s.written = nil
	s.mu.Unlock()
	if left != nil {
		err = errors.Join(err, left.Close())
	}
	return errors.Join(err, s.store.Close())
}

func (s *Server) fatal(err error) {
	if s.o.Fatal != nil {
		s.o.Fatal(err)
		select {}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// openStore opens the store, made anew if need be, and restores the state from it.
func (s *Server) openStore() error {
	id := store.Identity{Cluster: s.manifest.ID(), Member: s.o.Key.Public()}
	if err := store.Init(s.o.FS, s.o.Dir, id); err != nil && !errors.Is(err, store.ErrInitialised) {
		return err
	}
	st, state, err := store.Open(store.Options{Dir: s.o.Dir, FS: s.o.FS, Identity: id, Fatal: s.o.Fatal, Durable: func(lsn bft.LSN) {
		s.durable.Store(uint64(lsn))
		s.signal()
	}})
	if err != nil {
		return err
	}
	s.store = st
	s.lsn = state.LSN
	s.durable.Store(uint64(state.LSN))
	cfg := exec.Config{Cluster: s.manifest.ID(), Limits: s.manifest.ExecLimits()}
	for _, name := range slices.Sorted(maps.Keys(s.o.Services)) {
		data, err := st.Service(name)
		if err != nil {
			return err
		}
		m, err := s.o.Services[name](data)
		if err != nil {
			return fmt.Errorf("single: service %s: %w", name, err)
		}
		cfg.Services = append(cfg.Services, exec.Service{Name: name, Machine: m})
	}
	if s.machine, err = exec.New(cfg); err != nil {
		return err
	}
	if s.machine.Passive() {
		return errors.New("single: without replicas no service is replicated passively: leave such services out")
	}
	if err := s.restore(state.Records); err != nil {
		return fmt.Errorf("%w; begin anew with an empty directory instead of %s", err, s.o.Dir)
	}
	return nil
}

// restore restores the newest snapshot, and executes the log behind it.
func (s *Server) restore(records []bft.KV) error {
	seqs, err := s.store.Snapshots()
	if err != nil {
		return err
	}
	if len(seqs) > 0 {
		snap, err := s.store.OpenSnapshot(seqs[len(seqs)-1])
		if err != nil {
			return err
		}
		if err := errors.Join(s.machine.Restore(snap.Reader()), snap.Close()); err != nil {
			return err
		}
		s.stable.Store(uint64(snap.Seq))
	}
	s.seq = s.machine.Executed()
	for _, r := range records {
		seq, err := seqOfKey(r.Key)
		if err != nil {
			return err
		}
		if seq <= s.seq {
			continue // the log was not cut yet
		}
		if seq != s.seq+1 {
			return fmt.Errorf("single: the log has batch %d after %d", seq, s.seq)
		}
		now, bundles, err := decodeBatch(r.Value, s.core.MaxBundleOps, s.core.MaxBundleBytes)
		if err != nil {
			return err
		}
		s.machine.Execute(newBatch(seq, now, s.core.Interval, bundles))
		s.seq = seq
	}
	s.executed.Store(uint64(s.seq))
	return nil
}
