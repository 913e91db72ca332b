//go:build !unix

package bench

import (
	"errors"
	"os"
)

// pauseProcess is not possible here.
func pauseProcess(*os.Process, bool) error {
	return errors.New("this system cannot pause processes: choose another fault")
}
