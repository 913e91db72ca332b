package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// table writes lines of aligned columns, and keeps the first error.
type table struct {
	w   *tabwriter.Writer
	err error
}

func newTable(w io.Writer) *table { return &table{w: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)} }

func (t *table) row(cells ...string) {
	if t.err == nil {
		_, t.err = fmt.Fprintln(t.w, strings.Join(cells, "\t"))
	}
}

func (t *table) end() error {
	if t.err == nil {
		t.err = t.w.Flush()
	}
	return t.err
}

// WriteTable writes the result for people.
func (res *Result) WriteTable(w io.Writer) error {
	t := newTable(w)
	t.row("throughput", fmt.Sprintf("%s ops/s, %.2f for each verification", group(res.OpsPerSecond), res.OpsPerVerify))
	t.row("calibration", group(res.VerifiesPerSecond)+" verifications/s (Ed25519, one idle core, standard library)")
	t.row("latency", fmt.Sprintf("p50 %s  p90 %s  p99 %s  p99.9 %s  max %s ms (%s operations)",
		short(res.P50), short(res.P90), short(res.P99), short(res.P999), short(res.Max), group(float64(res.Ops))))
	for _, line := range res.loadLines() {
		t.row(line[0], line[1])
	}
	t.row("errors", res.errorText())
	if len(res.Timeline) > 1 {
		t.row("each second", fmt.Sprintf("%s to %s ops/s", group(slices.Min(res.Timeline)), group(slices.Max(res.Timeline))))
	}
	if len(res.Processes) > 0 {
		t.row("processor", short(res.CPUMicrosPerOp)+" us per operation "+res.otherText())
	}
	for _, line := range res.Settings.lines() {
		t.row(line[0], line[1])
	}
	t.row("machine", res.Machine.text())
	if err := t.end(); err != nil {
		return err
	}
	if err := res.writeProcesses(w); err != nil {
		return err
	}
	if err := res.writeUsage(w); err != nil {
		return err
	}
	for _, warning := range res.Warnings {
		if _, err := fmt.Fprintln(w, "warning:", warning); err != nil {
			return err
		}
	}
	return nil
}

// writeProcesses writes what each process used and did.
func (res *Result) writeProcesses(w io.Writer) error {
	if len(res.Processes) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	t := newTable(w)
	t.row("PROCESS", "CPU S", "KERNEL S", "US/OP", "OPS/BUNDLE", "OPS/BATCH", "BATCH/FSYNC", "SIGNED/OP", "VERIFIED/OP", "FSYNCS/OP", "BYTES IN+OUT/OP", "MESSAGES IN+OUT/OP", "GC/S")
	for _, p := range res.Processes {
		cells := []string{p.Name, short(p.CPUSeconds), short(p.CPUSystemSeconds), short(p.CPUMicrosPerOp)}
		if k := p.Work; k != nil {
			cells = append(cells, short(k.OpsPerBundle), short(k.OpsPerBatch), short(k.BatchesPerFsync), short(k.SignedPerOp), short(k.VerifiedPerOp), short(k.FsyncsPerOp),
				short(k.BytesInPerOp)+"+"+short(k.BytesOutPerOp), short(k.MessagesInPerOp)+"+"+short(k.MessagesOutPerOp), short(k.GCPerSecond))
		}
		t.row(cells...)
	}
	return t.end()
}

// writeUsage writes how memory and disk use went over the measured time.
func (res *Result) writeUsage(w io.Writer) error {
	if len(res.Usage) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	t := newTable(w)
	t.row("MIB", "RSS FIRST", "LAST", "HIGHEST", "PER MINUTE", "DISK FIRST", "LAST", "HIGHEST", "PER MINUTE")
	for i := range res.Usage {
		u := &res.Usage[i]
		t.row(append(append([]string{u.Name}, u.ResidentMiB.cells()...), u.DiskMiB.cells()...)...)
	}
	return t.end()
}

// cells are the figures of a track, which may be nil.
func (t *Track) cells() []string {
	if t == nil {
		return []string{"-", "-", "-", "-"}
	}
	slope := "-"
	if t.PerMinute != nil {
		slope = fmt.Sprintf("%+.2f", *t.PerMinute)
	}
	return []string{short(t.First), short(t.Last), short(t.Highest), slope}
}

func (res *Result) otherText() string {
	if res.OtherCores < 0 {
		return "of the load and the replicas on this machine"
	}
	return fmt.Sprintf("of the load and the replicas; other processes had %.2f cores", res.OtherCores)
}

func (res *Result) errorText() string {
	if len(res.Errors) == 0 {
		return "none"
	}
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(res.Errors)) {
		parts = append(parts, fmt.Sprintf("%s %d", kind, res.Errors[kind]))
	}
	return strings.Join(parts, ", ")
}

// lines are the settings, by subject.
func (s *Settings) lines() [][2]string {
	load := s.loadText()
	batch := fmt.Sprintf("bundles of at most %d operations", s.BundleOps)
	if s.BatchOps > 0 {
		batch += fmt.Sprintf(", batches of %d", s.BatchOps)
	}
	disk := s.Durability
	if s.FileSystem != "" {
		disk += " (" + s.FileSystem + ")"
	}
	how := fmt.Sprintf("%gs measured after %gs of warm-up", s.DurationSeconds, s.WarmupSeconds)
	if s.Profiled {
		how += ", while being profiled"
	}
	return [][2]string{
		{"cluster", fmt.Sprintf("n = %d, f = %d, results accepted %s; version %s", s.N, s.F, s.Accepted, s.Version)},
		{"load", load},
		{"", how},
		{"placement", s.Placement},
		{"crypto", s.Crypto},
		{"durability", disk},
		{"limits", fmt.Sprintf("%s; checkpoint each %d, window %d, pipeline %d; request timeout %g ms", batch, s.CheckpointInterval, s.Window, s.Pipeline, s.RequestTimeoutMS)},
	}
}

func (m *Machine) text() string {
	s := fmt.Sprintf("%d cores, %s, %s", m.Cores, m.OS, m.Go)
	if m.Processor != "" {
		s = m.Processor + ", " + s
	}
	if m.Kernel != "" {
		s += ", kernel " + m.Kernel
	}
	return s + fmt.Sprintf("; load process GOMAXPROCS %d, GOGC %d", m.GoMaxProcs, m.LoadGCPercent)
}

// group writes a number without fraction, in groups of three digits.
func group(v float64) string {
	s := strconv.FormatFloat(v, 'f', 0, 64)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// short writes a number with three digits or, if it is large, without fraction.
func short(v float64) string {
	if v >= 100 || v <= -100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	if v != 0 && v < 0.001 && v > -0.001 {
		return strconv.FormatFloat(v, 'g', 2, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
