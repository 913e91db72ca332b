package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/sim"
	"github.com/baluarte-bft/baluarte/sim/draw"
	"github.com/baluarte-bft/baluarte/sim/teach"
)

// drawing is what the options of draw say.
type drawing struct {
	source
	from, until time.Duration
	svg         bool
	file        string
}

func drawCommand(out, diag io.Writer) *cobra.Command {
	var d drawing
	cmd := &cobra.Command{
		Use:   "draw NAME | --seed N | FILE",
		Short: "Draw a run as a space-time diagram",
		Long: `Runs a seed, a script or a teaching scenario ("bftsim list") and draws what happened: replicas
and clients as lines, messages as arrows, views as bands, faults and lies marked. The diagram is one
HTML file that needs nothing else; open it in a browser, zoom with the wheel, click an arrow for what
the message says. With --svg it is a still picture for a document, which is best of a short stretch:
it shows some 150 messages and says what it leaves out.

The run goes on to its end in any case; --from and --until say what is drawn of it. A run in which
an oracle broke is drawn too.

With --mutant the protocol is broken on purpose as that mutant does it (see "bftsim mutants
--list"); this needs the source tree and the go command.`,
		Example: `  bftsim draw --seed 7
  bftsim draw --seed 7 --from 6.5s --until 8s -o view-change.html
  bftsim draw --seed 7 --from 1.25s --until 1.32s --svg -o request.svg
  bftsim draw equivocation`,
		Args: wrong.Args(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			if d.from < 0 || d.until < 0 || d.until != 0 && d.until <= d.from {
				return fmt.Errorf("--from %v --until %v: give a stretch that ends after it begins", d.from, d.until)
			}
			if len(args) == 1 {
				if scenario, err := teach.Find(args[0]); err == nil {
					return d.scenario(out, diag, scenario)
				}
			}
			script, err := d.script(args)
			if err != nil {
				return err
			}
			name := fmt.Sprintf("seed-%d", script.Options.Seed)
			if len(args) == 1 {
				base := filepath.Base(args[0])
				name = strings.TrimSuffix(base, filepath.Ext(base))
			}
			if d.mutant != "" {
				more := []string{"--from", d.from.String(), "--until", d.until.String(), "-o", d.file}
				if d.svg {
					more = append(more, "--svg")
				}
				return asMutant(out, diag, d.mutant, "draw", script, name, more...)
			}
			return d.do(out, diag, script, name)
		},
	}
	d.flags(cmd)
	f := cmd.Flags()
	f.DurationVar(&d.from, "from", 0, "the virtual time at which the diagram begins, such as 1.5s")
	f.DurationVar(&d.until, "until", 0, "the virtual time at which it ends (default: with the run)")
	f.BoolVar(&d.svg, "svg", false, "draw a still picture instead of a page")
	f.StringVarP(&d.file, "output", "o", "", `the file to write, "-" for standard output (default: the run's name with .html or .svg)`)
	return cmd
}

// do runs and draws. A run in which an oracle broke is drawn too, and then reported.
func (d *drawing) do(out, diag io.Writer, script *sim.Script, name string) error {
	report, run, err := sim.Record(script.Options, sim.Duration(d.from), sim.Duration(d.until))
	if err != nil {
		return err
	}
	if end := time.Duration(report.Stats.Virtual); d.from >= end {
		return fmt.Errorf("--from %v: the run ends at %v", d.from, end)
	}
	run.Title = strings.ReplaceAll(name, "-", " ")
	if script.Mutant != "" {
		run.Title += ", mutant " + script.Mutant
	}
	if said := strings.Join(script.Notes, " "); said != "" {
		run.Notes = append([]string{said}, run.Notes...)
	}
	if err := d.keep(out, diag, name, run); err != nil {
		return err
	}
	if f := report.Failure; f != nil {
		fmt.Fprintln(diag, f.Error())
		return errFailed
	}
	return nil
}

// scenario draws a teaching scenario.
func (d *drawing) scenario(out, diag io.Writer, scenario teach.Scenario) error {
	if d.mutant != "" || len(d.behaviours) > 0 || d.signatures != "" {
		return fmt.Errorf("%s is a teaching scenario: it takes no --mutant, --behaviour or --signatures", scenario.Name)
	}
	run, err := scenario.Diagram(teach.Options{Seed: d.seed})
	if err != nil {
		return err
	}
	if d.from != 0 || d.until != 0 {
		until := int64(d.until)
		if until == 0 {
			until = draw.MaxTime
		}
		run = draw.Window(run, int64(d.from), until)
	}
	return d.keep(out, diag, scenario.Name, run)
}

// keep draws the run in the form that is wanted, and puts it where it belongs.
func (d *drawing) keep(out, diag io.Writer, name string, run draw.Run) error {
	var b bytes.Buffer
	form, extension := draw.HTML, ".html"
	if d.svg {
		form, extension = draw.SVG, ".svg"
	}
	if err := form(&b, run); err != nil {
		return err
	}
	if d.file == "-" {
		_, err := out.Write(b.Bytes())
		return err
	}
	name += extension
	if d.file != "" {
		name = d.file
	}
	if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
		return wrong.NewFile(name, err, "name another file with --output")
	}
	_, err := fmt.Fprintf(diag, "%s: %d messages\n", name, len(run.Messages))
	return err
}
