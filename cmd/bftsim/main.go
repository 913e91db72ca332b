// Command bftsim runs Baluarte's protocol in a deterministic simulator, under faults and
// adversaries, and checks its promises.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"github.com/baluarte-bft/baluarte/node/cli/wrong"
)

func main() {
	if os.Getenv("GOGC") == "" {
		// A run lives on short-lived messages in little memory: collecting less often is worth a quarter.
		debug.SetGCPercent(400)
	}
	cmd := root(os.Stdout, os.Stderr)
	if err := cmd.Execute(); err != nil {
		if !errors.Is(err, errFailed) {
			fmt.Fprintln(os.Stderr, "bftsim: "+strings.TrimPrefix(err.Error(), "sim: "))
			os.Exit(wrong.Code)
		}
		os.Exit(1)
	}
}
