package bench

import (
	"fmt"
	"math"
	"time"

	"github.com/baluarte-bft/baluarte/node/app/kv"
)

// Services that the harness can put load on.
const (
	// Counter: each operation is empty and adds one, so that all the cost is that of the engine.
	Counter = "counter"
	// KV: each operation puts a value of Options.Size bytes under a random key.
	KV = "kv"
)

// Reads of a load.
const (
	// ReadLinearizable reads are answered without ordering, and reflect all that ended before.
	ReadLinearizable = "linearizable"
	// ReadOrdered reads are ordered like operations.
	ReadOrdered = "ordered"
	// ReadStale reads reflect a state of some correct replica.
	ReadStale = "stale"
)

// When the operations of an open loop begin.
const (
	// ArrivalsPoisson are independent of each other: of many users who do not know of each other.
	ArrivalsPoisson = "poisson"
	// ArrivalsEven are evenly spaced, the clients in turn.
	ArrivalsEven = "even"
)

// Bounds of Options.
const (
	// MaxRate bounds the rate of an open loop, in operations a second.
	MaxRate = 10_000_000
	// MaxRecords bounds the records of a mix.
	MaxRecords = 10_000_000
	// MaxClients and MaxOutstanding bound what one load process holds.
	MaxClients     = 1000
	MaxOutstanding = 1 << 20
	// maxDepth is the number of calls that a client takes.
	maxDepth = 8192
)

// Options say what to measure. The zero value is not valid, see DefaultOptions.
type Options struct {
	// Clients is the number of clients, each with its own key, session and connections; 1 to
	// MaxClients. Depth is how many operations each keeps outstanding; 1 to 8,192. An open loop does not
	// use it.
	Clients, Depth int
	// Rate, if not 0, makes the load an open loop, which offers so many operations a second in all, up to
	// MaxRate, whatever becomes of the earlier ones; see load_open.go. Each client has at most 8,192, and all
	// together at most MaxOutstanding, outstanding; what exceeds that is counted in Result.NotSubmitted.
	Rate float64
	// Arrivals is how these begin: ArrivalsPoisson, which empty means too, or ArrivalsEven. Equal Seeds give
	// equal arrivals.
	Arrivals string
	Seed     uint64
	// Warmup passes before Duration, in which the figures are taken. Both are real time.
	Warmup, Duration time.Duration
	// Service is Counter or KV.
	Service string
	// Size is the number of bytes of the value of each put, or of each value that is read. A counter takes
	// 0 only.
	Size int
	// Keys is the number of different keys that each client writes under KV, or that all read; at least 1.
	Keys int
	// Read, if not empty, makes every operation a read with this consistency: of the counter, or of random
	// ones of Keys values under KV, which are put before the load. With a Mix it is the consistency of the
	// mix's reads; empty means ReadLinearizable there.
	Read string
	// Mix, if not empty, makes the load one of the core workloads of YCSB on Records values under KV, which are
	// put before the load: A (half reads, half updates), B (95 % reads) or C (reads only). Records are
	// chosen by a scrambled zipfian distribution with the constant 0.99; an update puts a whole new value.
	Mix     string
	Records int

	// Reference also measures the same load on one server without replicas, see package single, for at most
	// ReferenceDuration after ReferenceWarmup, once the cluster that was made here has ended, or beside
	// the one of Dir. ReferenceProgram is the path of bftbench, which serves it.
	Reference        bool
	ReferenceProgram string

	// Dir is the directory of a running cluster, made by `bftnode up` or `bftnode init`. Empty: a cluster is made
	// in a temporary directory, of Nodes replicas, and ended and removed afterwards.
	Dir   string
	Nodes int
	// Program is the path of bftnode for a cluster that is made here. Empty: it is built with `go build`
	// within a checkout; elsewhere it is the one beside this program, or in PATH.
	Program string
	// Profiles, if not empty, is a directory for CPU profiles of the measured time: load.pprof, and
	// NAME.pprof of each replica that offers one.
	Profiles string

	// Calibration is how long verifications are counted.
	Calibration time.Duration
	// Progress, if not nil, is told now and then what is being done, from one goroutine at a time.
	Progress func(Progress)
}

// Progress is how far a measurement is.
type Progress struct {
	// Phase says what is being done.
	Phase string
	// Elapsed of Total is over; Total is 0 where the end is not known.
	Elapsed, Total time.Duration
	// OpsPerSecond is the present throughput, while there is load.
	OpsPerSecond float64
}

// DefaultOptions are those of a `bftbench run` without flags: the first of the project's bars.
func DefaultOptions() Options {
	return Options{Clients: 32, Depth: 128, Warmup: 2 * time.Second, Duration: 10 * time.Second,
		Service: Counter, Keys: 1000, Nodes: 4, Calibration: time.Second}
}

// DefaultMix are the options of a `bftbench ycsb` without flags: 10,000 records of ten fields of 100 bytes
// each, kept as one value.
func DefaultMix() Options {
	o := DefaultOptions()
	o.Service, o.Mix, o.Size, o.Records = KV, "A", 10*100, 10_000
	return o
}

// Validate says what is wrong with o.
func (o *Options) Validate() error {
	switch {
	case o.Clients < 1 || o.Clients > MaxClients:
		return fmt.Errorf("%d clients: choose 1 to %d", o.Clients, MaxClients)
	case o.Depth < 1 || o.Depth > maxDepth:
		return fmt.Errorf("a depth of %d: choose 1 to %d", o.Depth, maxDepth)
	case o.Clients*o.Depth > MaxOutstanding:
		return fmt.Errorf("%d clients with %d operations outstanding each: at most %d in all are supported", o.Clients, o.Depth, MaxOutstanding)
	case o.Duration <= 0 || o.Duration > 24*time.Hour:
		return fmt.Errorf("a duration of %v: choose a positive one of at most 24h", o.Duration)
	case o.Warmup < 0 || o.Warmup > time.Hour:
		return fmt.Errorf("a warm-up of %v: choose 0 to 1h", o.Warmup)
	case o.Calibration <= 0:
		return fmt.Errorf("a calibration of %v: it must be positive", o.Calibration)
	case o.Dir == "" && (o.Nodes < 4 || o.Nodes > 64):
		return fmt.Errorf("%d nodes: choose 4 to 64", o.Nodes)
	case o.Reference && o.ReferenceProgram == "":
		return fmt.Errorf("a reference needs the program of bftbench, which serves it: name it, or leave the reference out")
	case o.Dir != "" && o.Program != "":
		return fmt.Errorf("a program is of use only for a cluster that is made here: leave it or the directory out")
	}
	if err := o.validateRate(); err != nil {
		return err
	}
	return o.validateService()
}

func (o *Options) validateRate() error {
	switch {
	case math.IsNaN(o.Rate) || o.Rate < 0 || o.Rate > MaxRate:
		return fmt.Errorf("a rate of %g: choose more than 0 and at most %d operations a second, or leave it out for a closed loop", o.Rate, MaxRate)
	case o.Rate == 0 && o.Arrivals != "":
		return fmt.Errorf("arrivals are of an open loop: choose a rate too, or leave them out")
	case o.Arrivals != "" && o.Arrivals != ArrivalsPoisson && o.Arrivals != ArrivalsEven:
		return fmt.Errorf("arrivals %q: choose %s or %s", o.Arrivals, ArrivalsPoisson, ArrivalsEven)
	}
	return nil
}

func (o *Options) validateService() error {
	switch o.Service {
	case Counter:
		if o.Size != 0 {
			return fmt.Errorf("a size of %d: operations of the counter have 0 bytes; use the service %s for others", o.Size, KV)
		}
	case KV:
		if o.Size < 0 || o.Size > kv.MaxValue {
			return fmt.Errorf("a size of %d: values have 0 to %d bytes", o.Size, kv.MaxValue)
		}
		if o.Keys < 1 || o.Keys > maxKeys {
			return fmt.Errorf("%d keys: choose 1 to %d", o.Keys, maxKeys)
		}
	default:
		return fmt.Errorf("service %q: choose %s or %s", o.Service, Counter, KV)
	}
	if _, ok := consistencies[o.Read]; !ok && o.Read != "" {
		return fmt.Errorf("read %q: choose %s, %s or %s", o.Read, ReadLinearizable, ReadOrdered, ReadStale)
	}
	return o.validateMix()
}

func (o *Options) validateMix() error {
	if o.Mix == "" {
		return nil
	}
	if _, ok := mixes[o.Mix]; !ok {
		return fmt.Errorf("mix %q: choose one of %s", o.Mix, mixNames())
	}
	if o.Service != KV {
		return fmt.Errorf("a mix is of the service %s, not %s", KV, o.Service)
	}
	if o.Records < 1 || o.Records > MaxRecords {
		return fmt.Errorf("%d records: choose 1 to %d", o.Records, MaxRecords)
	}
	return nil
}
