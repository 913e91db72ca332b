// Command bftbench puts load on a cluster and reports how fast it is and at what cost; see
// `bftbench --help`.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/term"

	"github.com/baluarte-bft/baluarte/node/cli/wrong"
)

// Exit codes.
const (
	codeOK      = 0
	codeFailure = 1
	codeUsage   = wrong.Code
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:], os.Stdout, os.Stderr, term.IsTerminal(int(os.Stderr.Fd())))
	stop()
	os.Exit(code)
}

// execute runs one command line; terminal tells whether stderr is one, which can show progress.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer, terminal bool) int {
	root := rootCommand(stdout, stderr, terminal)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return codeOK
	}
	lines := strings.FieldsFunc(strings.TrimSpace(err.Error()), func(r rune) bool { return r == '\n' || r == '\r' })
	fmt.Fprintf(stderr, "bftbench: %s\n", strings.Join(lines, "; "))
	if wrong.Is(err) {
		return codeUsage
	}
	return codeFailure
}
