package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/bench"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
)

// output is where the results of measurements go, besides the standard output.
type output struct {
	stdout, stderr io.Writer
	terminal       bool
	repeat         int
	json           bool
	csv, histogram string // paths, or empty
}

// addFlags adds those that all commands have in common that measure.
func (o *output) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.IntVar(&o.repeat, "repeat", 1, "measure so often, each time with a cluster of its own, and tell means and intervals")
	f.BoolVar(&o.json, "json", false, "print JSON")
	f.StringVar(&o.csv, "csv", "", "write a line for each measurement to this file too")
	f.StringVar(&o.histogram, "histogram", "", "write the latencies to this file too, as a log of HdrHistogram")
}

// measure makes the measurements of a sweep and writes them, also those of one that ended early: table writes them for
// people, value is what is printed as JSON.
func (o *output) measure(ctx context.Context, s *bench.Sweep, table func(io.Writer, []*bench.Result) error, value func([]*bench.Result) any) error {
	files, err := o.open()
	if err != nil {
		return err
	}
	defer files.discard()
	debug.SetGCPercent(loadGCPercent)
	var p *progressLine
	if o.terminal {
		p = &progressLine{w: o.stderr}
		s.Base.Progress = p.show
	}
	results, err := s.Run(ctx)
	p.clear()
	if len(results) == 0 {
		return err
	}
	return errors.Join(err, files.write(results), o.print(results, table, value))
}

// measureOne makes the measurements of one load, as often as it is to be repeated.
func (o *output) measureOne(cmd *cobra.Command, load *bench.Options) error {
	s := &bench.Sweep{Base: *load, Repeat: o.repeat}
	if _, err := s.Points(); err != nil {
		return wrong.Errorf("%w; see %s --help", err, cmd.CommandPath())
	}
	if o.repeat == 1 {
		return o.measure(cmd.Context(), s, func(w io.Writer, results []*bench.Result) error { return results[0].WriteTable(w) },
			func(results []*bench.Result) any { return results[0] })
	}
	return o.measure(cmd.Context(), s, func(w io.Writer, results []*bench.Result) error { return bench.Summarize(results).WriteTable(w) },
		func(results []*bench.Result) any { return bench.Summarize(results) })
}

func (o *output) print(results []*bench.Result, table func(io.Writer, []*bench.Result) error, value func([]*bench.Result) any) error {
	if o.json {
		return printJSON(o.stdout, value(results))
	}
	return table(o.stdout, results)
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// open makes the files before anything is measured, so that a path that cannot be written does not cost a measurement.
func (o *output) open() (files outputFiles, err error) {
	for _, f := range []struct {
		path  string
		write func(io.Writer, []*bench.Result) error
	}{{o.csv, bench.WriteCSV}, {o.histogram, bench.WriteHistograms}} {
		if f.path == "" {
			continue
		}
		pending, err := newPendingFile(f.path)
		if err != nil {
			files.discard()
			return nil, err
		}
		files = append(files, outputFile{pending, f.write})
	}
	return files, nil
}

// outputFile is a file of results that is written when they are there.
type outputFile struct {
	*pendingFile
	content func(io.Writer, []*bench.Result) error
}

type outputFiles []outputFile

func (files outputFiles) write(results []*bench.Result) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.commit(func(w io.Writer) error { return f.content(w, results) }))
	}
	return errors.Join(errs...)
}

func (files outputFiles) discard() {
	for _, f := range files {
		f.pendingFile.discard()
	}
}

// pendingFile is a file that appears under its name once all of it is written. What was there before stays until
// then.
type pendingFile struct {
	path string
	temp *os.File // nil once it is committed or discarded
}

// ownerWrites are the usual rights of a file that others may read.
const ownerWrites = 0o644

func newPendingFile(path string) (*pendingFile, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, wrong.Errorf("%s is not a file: name one to be written", path)
	}
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return nil, wrong.NewFile(path, err, "name another file to be written")
	}
	return &pendingFile{path: path, temp: temp}, nil
}

// commit has the content written and the file appear.
func (p *pendingFile) commit(content func(io.Writer) error) error {
	err := content(p.temp)
	if err = errors.Join(err, p.temp.Chmod(ownerWrites), p.temp.Close()); err == nil {
		err = os.Rename(p.temp.Name(), p.path)
	}
	if err != nil {
		_ = os.Remove(p.temp.Name()) // of no use, and the error tells more
		err = fmt.Errorf("%s: %w", p.path, err)
	}
	p.temp = nil
	return err
}

// discard removes what was not committed.
func (p *pendingFile) discard() {
	if p.temp != nil {
		_ = p.temp.Close()
		_ = os.Remove(p.temp.Name())
		p.temp = nil
	}
}
