package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/sim"
	"github.com/baluarte-bft/baluarte/sim/draw"
)

// drawing is what the options of draw say.
type drawing struct {
	seed        uint64
	from, until time.Duration
	svg         bool
	file        string
}

func drawCommand(out, diag io.Writer) *cobra.Command {
	var d drawing
	cmd := &cobra.Command{
		Use:   "draw --seed N",
		Short: "Draw a run as a space-time diagram",
		Long: `Run one seed and draw what happened: replicas and clients as lines, messages as arrows, views as
bands, faults and lies marked. The diagram is one HTML file that needs nothing else; open it in a
browser, zoom with the wheel, click an arrow for what the message says. With --svg it is a still
picture for a document, which is best of a short stretch: it shows some 150 messages and says what
it leaves out.

The run goes on to its end in any case; --from and --until say what is drawn of it.`,
		Example: `  bftsim draw --seed 7
  bftsim draw --seed 7 --from 6.5s --until 8s -o view-change.html
  bftsim draw --seed 7 --from 1.25s --until 1.32s --svg -o request.svg`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return d.do(out, diag) },
	}
	f := cmd.Flags()
	f.Uint64Var(&d.seed, "seed", 0, "what everything is drawn from (required)")
	f.DurationVar(&d.from, "from", 0, "the virtual time at which the diagram begins, such as 1.5s")
	f.DurationVar(&d.until, "until", 0, "the virtual time at which it ends (default: with the run)")
	f.BoolVar(&d.svg, "svg", false, "draw a still picture instead of a page")
	f.StringVarP(&d.file, "output", "o", "", `the file to write, "-" for standard output (default: seed-N.html or seed-N.svg)`)
	if err := cmd.MarkFlagRequired("seed"); err != nil {
		panic(err) // the flag was just defined
	}
	return cmd
}

// do runs and draws. A run in which an oracle broke is drawn too, and then reported.
func (d *drawing) do(out, diag io.Writer) error {
	if d.from < 0 || d.until < 0 || d.until != 0 && d.until <= d.from {
		return fmt.Errorf("--from %v --until %v: give a stretch that ends after it begins", d.from, d.until)
	}
	report, run, err := sim.Record(sim.Draw(d.seed), sim.Duration(d.from), sim.Duration(d.until))
	if err != nil {
		return err
	}
	if end := time.Duration(report.Stats.Virtual); d.from >= end {
		return fmt.Errorf("--from %v: the run ends at %v", d.from, end)
	}
	var b bytes.Buffer
	make := draw.HTML
	kind := "html"
	if d.svg {
		make, kind = draw.SVG, "svg"
	}
	if err := make(&b, run); err != nil {
		return errors.Join(err, errors.New("draw less of the run, with --from and --until"))
	}
	if err := d.write(out, diag, kind, b.Bytes(), &run); err != nil {
		return err
	}
	if f := report.Failure; f != nil {
		fmt.Fprintln(diag, f.Error())
		return errFailed
	}
	return nil
}

// write puts the diagram where it belongs.
func (d *drawing) write(out, diag io.Writer, kind string, data []byte, run *draw.Run) error {
	if d.file == "-" {
		_, err := out.Write(data)
		return err
	}
	name := d.file
	if name == "" {
		name = fmt.Sprintf("seed-%d.%s", d.seed, kind)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		return err
	}
	_, err := fmt.Fprintf(diag, "%s: %d messages from %v to %v\n", name, len(run.Messages), time.Duration(run.From), time.Duration(run.Until))
	return err
}
