package main

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/bench"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
)

const plotLong = `Draws results that run --json or sweep --json printed, as SVG or PNG by the ending of --output. A file "-" is the
standard input. Repeated measurements are drawn as means with intervals of 95 %.

Kinds, of which it chooses one by what differs if you do not:
  latency   median and 99th percentile against throughput
  time      throughput of each second
  nodes     throughput and processor time of an operation against the number of replicas, with the curves along which they
            go if all work is done by each of the n replicas on the same cores, and if votes were all the work (n²)
  usage     memory and disk of each process over time`

const plotExample = `  bftbench sweep --over clients=1,4,16,64 --json >clients.json
  bftbench plot clients.json --output clients.svg
  bftbench run --duration 30m --json | bftbench plot - --kind usage --output memory.png`

func plotCommand(stdout io.Writer) *cobra.Command {
	var kind, path string
	cmd := &cobra.Command{
		Use:     "plot FILE... --output PICTURE",
		Short:   "Draw results",
		Long:    plotLong,
		Example: plotExample,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return wrong.Errorf("plot takes files of results; see %s --help", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			format, err := plotFormat(kind, path)
			if err != nil {
				return wrong.Errorf("%w; see %s --help", err, cmd.CommandPath())
			}
			sources, err := readSources(cmd.InOrStdin(), args)
			if err != nil {
				return err
			}
			if kind == "" {
				kind = bench.GuessPlot(sources)
			}
			file, err := newPendingFile(path)
			if err != nil {
				return err
			}
			defer file.discard()
			if err := file.commit(func(w io.Writer) error { return bench.WritePlot(w, kind, format, sources) }); err != nil {
				return err
			}
			_, err = fmt.Fprintf(stdout, "%s: %s\n", path, kind)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVarP(&path, "output", "o", "", "picture to write, ending in .svg or .png")
	f.StringVar(&kind, "kind", "", "what to draw: "+strings.Join(bench.PlotKinds(), ", "))
	return cmd
}

// plotFormat tells the format by the ending.
func plotFormat(kind, path string) (string, error) {
	if kind != "" && !slices.Contains(bench.PlotKinds(), kind) {
		return "", fmt.Errorf("kind %q: choose one of %s", kind, strings.Join(bench.PlotKinds(), ", "))
	}
	if path == "" {
		return "", fmt.Errorf("name the picture to write with --output")
	}
	format := strings.ToLower(strings.TrimPrefix(filepath.Ext(path), "."))
	if format != bench.SVG && format != bench.PNG {
		return "", fmt.Errorf("%s: let the name end in .%s or .%s", path, bench.SVG, bench.PNG)
	}
	return format, nil
}

// readSources names each file by its own name without folder and ending, or by all of its path where that would not
// tell them apart.
func readSources(stdin io.Reader, paths []string) ([]bench.PlotSource, error) {
	base := func(path string) string { return strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)) }
	seen := map[string]int{}
	for _, path := range paths {
		seen[base(path)]++
	}
	var sources []bench.PlotSource
	for _, path := range paths {
		s := bench.PlotSource{Name: base(path)}
		if seen[s.Name] > 1 {
			s.Name = path
		}
		var err error
		if path == "-" {
			s.Name = "input"
			s.Results, err = bench.ReadResults(stdin)
		} else {
			s.Results, err = bench.ReadResultFile(path)
		}
		if err != nil {
			return nil, wrong.File(path, err, "name a file of results")
		}
		sources = append(sources, s)
	}
	return sources, nil
}
