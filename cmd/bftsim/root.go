package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/sim"
)

// errFailed: an oracle broke. All that is to be said was said.
var errFailed = errors.New("an oracle broke")

// root is the whole command line; data goes to out, everything else to diag.
func root(out, diag io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bftsim",
		Short: "Run the protocol in a deterministic simulator, under faults and adversaries",
		Long: `bftsim runs whole clusters, clients and all, under virtual time: real replicas, services and
clients in a network that loses, delays and cuts, with crashes, clocks that disagree, and up to
f replicas that belong to an adversary. A run is a function of its seed. Oracles watch it for
every promise of the protocol.

Exit code: 0 if every oracle held, 1 if one broke or something was not shown that was to be, 2 if
the command was used wrongly, or could not do its work, such as write a file: then it tells nothing about the protocol.`,
		Example: `  bftsim run --seed 7
  bftsim fuzz --seeds 1..1000
  bftsim list
  bftsim draw equivocation -o equivocation.html`,
		SilenceUsage: true, SilenceErrors: true,
		Args: wrong.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SetFlagErrorFunc(wrong.Flag)
	wrong.SetHelp(cmd, "run")
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.SetOut(out)
	cmd.SetErr(diag)
	cmd.AddCommand(runCommand(out, diag), listCommand(out), fuzzCommand(out, diag), matrixCommand(out, diag), behavioursCommand(out, diag), twinsCommand(out, diag), accountabilityCommand(out, diag), dependabilityCommand(out, diag),
		shrinkCommand(out, diag), drawCommand(out, diag), coverageCommand(out, diag), mutantsCommand(out, diag))
	return cmd
}

// print writes the report, and returns errFailed if it is one of a failure.
func print(out io.Writer, report *sim.Report, what io.WriterTo, asJSON bool) error {
	var err error
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		err = e.Encode(what)
	} else {
		_, err = what.WriteTo(out)
	}
	if err == nil && report != nil && !report.OK() {
		err = errFailed
	}
	return err
}

// progress shows how far something long is, if somebody is looking.
func progress(diag io.Writer, what string, runs uint64) *progressbar.ProgressBar {
	f, ok := diag.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return progressbar.DefaultSilent(int64(runs))
	}
	return progressbar.NewOptions64(int64(runs), progressbar.OptionSetWriter(f), progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("runs"),
		progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
}
