package bench

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// Calibration is how fast one core of this machine is at what such a system spends most on.
type Calibration struct {
	// VerifiesPerSecond is how many Ed25519 signatures of 64-byte messages one core verifies in a
	// second of its time with the standard library.
	VerifiesPerSecond float64
	// CoreShare is how much of a core the calibration got, at most 1; much less means that the machine was
	// busy with something else. 0 where the system does not tell; VerifiesPerSecond is then by the clock.
	CoreShare float64
}

// idleShare is the least share of a core that an idle machine gives.
const idleShare = 0.9

// Calibrate verifies signatures on one thread for that long. The time counted is the
// processor time of the thread, where the system tells it: what others take from it does not
// make the machine look slower than it is.
func Calibrate(ctx context.Context, d time.Duration) (Calibration, error) {
	const keys, messageBytes = 16, 64
	var public [keys]ed25519.PublicKey
	var message, signature [keys][]byte
	for i := range keys {
		pub, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return Calibration{}, fmt.Errorf("calibration: %w", err)
		}
		message[i] = make([]byte, messageBytes)
		message[i][0] = byte(i)
		public[i], signature[i] = pub, ed25519.Sign(private, message[i])
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	begin, beginCPU := time.Now(), threadTime()
	count := 0
	for time.Since(begin) < d {
		if err := ctx.Err(); err != nil {
			return Calibration{}, err
		}
		for i := range keys {
			if !ed25519.Verify(public[i], message[i], signature[i]) {
				return Calibration{}, errors.New("calibration: a valid signature does not verify: this machine computes wrongly")
			}
		}
		count += keys
	}
	wall, cpu := time.Since(begin), threadTime()-beginCPU
	if cpu <= 0 {
		return Calibration{VerifiesPerSecond: float64(count) / wall.Seconds()}, nil
	}
	// The system counts processor time in steps of its own: over a short while a thread can seem to have had
	// more than all of its core.
	return Calibration{VerifiesPerSecond: float64(count) / cpu.Seconds(), CoreShare: min(1, cpu.Seconds()/wall.Seconds())}, nil
}
