package sim

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/baluarte-bft/baluarte/bft"
)

// Script is a run as a text that people read, write and keep: one thing a line, what is not mentioned
// is as in Plain, # begins a comment. docs/simulator.md has the lines.
type Script struct {
	// Notes are the lines of comment at the head.
	Notes []string
	// Options are the run.
	Options Options
	// Mutant is the wrong protocol that the script shows, see package mutants; empty: the right one.
	Mutant string
	// Expect is what comes of it: "ok" or the oracle that breaks, with the Mutant if there is one; empty: nothing is
	// expected.
	Expect string
}

var oracleName = regexp.MustCompile(`^(ok|[A-Z]+[0-9]?)$`)

// MaxScript is how many bytes a script may have.
const MaxScript = 1 << 20

// setting is one value of a group of them.
type setting struct {
	name  string
	print func(o *Options) string
	parse func(o *Options, s string) error
}

func number[T ~int | ~int64 | ~uint64](name string, of func(o *Options) *T) setting {
	return setting{name, func(o *Options) string { return fmt.Sprint(*of(o)) }, func(o *Options, s string) error {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil || n < 0 {
			return fmt.Errorf("%q is no whole number from 0 to %d", s, 1<<31-1)
		}
		*of(o) = T(n)
		return nil
	}}
}

func span(name string, of func(o *Options) *Duration) setting {
	return setting{name, func(o *Options) string { return of(o).String() }, func(o *Options, s string) error { return of(o).parse(s) }}
}

// parse reads a duration that is not negative.
func (d *Duration) parse(s string) error {
	var v Duration
	if err := v.UnmarshalText([]byte(s)); err != nil || v < 0 {
		return fmt.Errorf("%q is no time, such as 20ms", s)
	}
	*d = v
	return nil
}

func word(name string, of func(o *Options) *string) setting {
	return setting{name, func(o *Options) string { return *of(o) }, func(o *Options, s string) error { *of(o) = s; return nil }}
}

// settings are the lines that have names and values, in the order in which they are written.
var settings = []struct {
	line string
	of   []setting
}{
	{"protocol", []setting{
		number("interval", func(o *Options) *bft.Seq { return &o.Protocol.Interval }), number("window", func(o *Options) *bft.Seq { return &o.Protocol.Window }),
		number("pipeline", func(o *Options) *bft.Seq { return &o.Protocol.Pipeline }), number("batch", func(o *Options) *int { return &o.Protocol.MaxBatchOps }),
		number("bundle", func(o *Options) *int { return &o.Protocol.MaxBundleOps }),
	}},
	{"timeouts", []setting{
		span("request", func(o *Options) *Duration { return &o.Protocol.RequestTimeout }), span("most", func(o *Options) *Duration { return &o.Protocol.MaxTimeout }),
		span("suspect", func(o *Options) *Duration { return &o.Protocol.SuspectFloor }), span("status", func(o *Options) *Duration { return &o.Protocol.StatusInterval }),
	}},
	{"load", []setting{
		word("service", func(o *Options) *string { return &o.Load.Service }), number("clients", func(o *Options) *int { return &o.Load.Clients }),
		number("outstanding", func(o *Options) *int { return &o.Load.Outstanding }), number("keys", func(o *Options) *int { return &o.Load.Keys }),
		span("think", func(o *Options) *Duration { return &o.Load.Think }), number("linearizable", func(o *Options) *int { return &o.Load.Linearizable }),
		number("stale", func(o *Options) *int { return &o.Load.Stale }), number("ordered", func(o *Options) *int { return &o.Load.Ordered }),
		number("sequences", func(o *Options) *bft.Seq { return &o.Load.Sequences }), number("calls", func(o *Options) *int { return &o.Load.Calls }),
		span("for", func(o *Options) *Duration { return &o.Load.For }), number("state", func(o *Options) *int { return &o.Load.State }), number("bad", func(o *Options) *int { return &o.Load.BadClients }),
		number("at-most-once", func(o *Options) *int { return &o.Load.AtMostOnce }), number("at-least-once", func(o *Options) *int { return &o.Load.AtLeastOnce }),
		number("crashes", func(o *Options) *int { return &o.Load.Crashes }), number("maybe", func(o *Options) *int { return &o.Load.Maybe }),
	}},
	{"network", []setting{
		span("delay", func(o *Options) *Duration { return &o.Network.Delay }), span("jitter", func(o *Options) *Duration { return &o.Network.Jitter }),
		number("loss", func(o *Options) *int { return &o.Network.Loss }), number("duplicates", func(o *Options) *int { return &o.Network.Duplicate }),
		number("late", func(o *Options) *int { return &o.Network.Reorder }), number("bandwidth", func(o *Options) *int64 { return &o.Network.Bandwidth }),
		number("client-loss", func(o *Options) *int { return &o.Network.ClientLoss }),
	}},
	{"machine", []setting{
		span("sync", func(o *Options) *Duration { return &o.Machine.Sync }), span("snapshot", func(o *Options) *Duration { return &o.Machine.Snapshot }),
		span("sign", func(o *Options) *Duration { return &o.Machine.Sign }), span("verify", func(o *Options) *Duration { return &o.Machine.Verify }),
		span("execute", func(o *Options) *Duration { return &o.Machine.Execute }), span("turn", func(o *Options) *Duration { return &o.Machine.Turn }),
		span("skew", func(o *Options) *Duration { return &o.Machine.Skew }),
	}},
}

// width is how long a line gets, in characters.
const width = 100

// WriteTo writes the script: what is as in Plain is left out.
func (s *Script) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	o, plain := &s.Options, Plain()
	for _, note := range s.Notes {
		fmt.Fprintln(&b, strings.TrimSpace("# "+clip(note, width-2)))
	}
	line := func(differs bool, format string, args ...any) {
		if differs {
			fmt.Fprintf(&b, format+"\n", args...)
		}
	}
	line(s.Mutant != "", "mutant %s", s.Mutant)
	line(s.Expect != "", "expect %s", s.Expect)
	line(true, "seed %d", o.Seed)
	line(o.Protocol.N != plain.Protocol.N, "replicas %d", o.Protocol.N)
	for _, group := range settings {
		var parts []string
		for _, x := range group.of {
			if x.print(o) != x.print(&plain) {
				parts = append(parts, x.name+"="+x.print(o))
			}
		}
		for len(parts) > 0 {
			k := len(parts)
			for k > 1 && len(group.line)+1+len(strings.Join(parts[:k], " ")) > width {
				k--
			}
			line(true, "%s %s", group.line, strings.Join(parts[:k], " "))
			parts = parts[k:]
		}
	}
	line(o.Signatures != plain.Signatures, "signatures %s", o.Signatures)
	line(o.Heal != plain.Heal, "heal %v", o.Heal)
	line(o.Beyond, "beyond")
	line(len(o.Demand) > 0, "demand %s", strings.Join(o.Demand, " "))
	if len(o.Behaviours) > 0 {
		line(true, "adversary %s by %s%s", strings.Join(o.Behaviours, " + "), replicas(o.Byzantine), lasting(o.Lying))
	}
	line(o.Lies != nil, "tell %v", o.Lies)
	for _, d := range o.Drops {
		line(true, "lose %s > %s %v", endpointName(endpoint(d.From), o.instances()), endpointName(endpoint(d.To), o.instances()), d.Messages)
	}
	for i := range o.Faults {
		line(true, "%s", o.Faults[i].script())
	}
	k, err := io.WriteString(w, b.String())
	return int64(k), err
}

func lasting(p Persistence) string {
	if p == "" || p == Permanent {
		return ""
	}
	return ", " + string(p)
}

// clip shortens a text to so many characters.
func clip(s string, most int) string {
	s = strings.Join(strings.Fields(s), " ")
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}

func replicas(ids []bft.ReplicaID) string {
	var parts []string
	for _, id := range ids {
		parts = append(parts, fmt.Sprint("r", id))
	}
	return strings.Join(parts, " ")
}

// script is the fault as a line of a script.
func (f *Fault) script() string {
	text := fmt.Sprintf("at %v %s", f.At, f.Kind)
	if f.On != "" {
		text += fmt.Sprintf(" %q", f.On)
	}
	if len(f.Targets) > 0 {
		text += " " + replicas(f.Targets)
	}
	if f.Count > 0 {
		text += fmt.Sprint(" count ", f.Count)
	}
	if f.Every > 0 {
		text += fmt.Sprint(" every ", f.Every)
	}
	if f.permanent() {
		return text + " permanent"
	}
	return text + fmt.Sprint(" until ", f.Until)
}

// ParseScript reads a script. The error names the line.
func ParseScript(r io.Reader) (*Script, error) {
	s := &Script{Options: Plain()}
	p := &parser{s: s, drops: [][3]string{}}
	lines := bufio.NewScanner(io.LimitReader(r, MaxScript+1))
	lines.Buffer(make([]byte, 0, 4096), MaxScript+1)
	size, number := 0, 0
	for lines.Scan() {
		number++
		if size += len(lines.Bytes()) + 1; size > MaxScript {
			return nil, fmt.Errorf("sim: a script of more than %d bytes", MaxScript)
		}
		if err := p.line(lines.Text()); err != nil {
			return nil, fmt.Errorf("sim: line %d: %w", number, err)
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return nil, fmt.Errorf("sim: a script of more than %d bytes", MaxScript)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("sim: reading the script: %w", err)
	}
	if err := s.Options.withinBounds(); err != nil {
		return nil, err
	}
	if err := p.drop(); err != nil {
		return nil, err
	}
	return s, s.Options.Validate()
}

type parser struct {
	s     *Script
	drops [][3]string // from, to, messages: endpoints are known at the end
	begun bool        // the head is over
}

func (p *parser) line(text string) error {
	text, note, commented := strings.Cut(text, "#")
	fields := strings.Fields(text)
	if len(fields) == 0 {
		if commented && !p.begun {
			p.s.Notes = append(p.s.Notes, strings.TrimSpace(note))
		}
		return nil
	}
	p.begun = true
	rest := strings.Join(fields[1:], " ")
	for _, group := range settings {
		if group.line == fields[0] {
			return p.settings(group.of, fields[1:])
		}
	}
	o := &p.s.Options
	switch fields[0] {
	case "mutant":
		p.s.Mutant = rest
	case "expect":
		if !oracleName.MatchString(rest) {
			return fmt.Errorf("expect %q: give \"ok\" or the oracle that breaks, such as S1", rest)
		}
		p.s.Expect = rest
	case "seed":
		seed, err := strconv.ParseUint(rest, 10, 64)
		if err != nil {
			return fmt.Errorf("seed %q is no number", rest)
		}
		o.Seed = seed
	case "replicas":
		n, err := strconv.Atoi(rest)
		if err != nil || n < 1 || n > bft.MaxMembers {
			return fmt.Errorf("replicas %q: give a number from 4 to %d", rest, bft.MaxMembers)
		}
		o.Protocol.N = n
	case "signatures":
		o.Signatures = rest
	case "heal":
		return o.Heal.parse(rest)
	case "beyond":
		o.Beyond = true
	case "demand":
		o.Demand = strings.Fields(rest)
	case "adversary":
		return p.adversary(rest)
	case "tell":
		var err error
		o.Lies, err = ParseRanges(rest)
		return err
	case "lose":
		from, other, ok := strings.Cut(rest, " > ")
		to, messages, ok2 := strings.Cut(other, " ")
		if !ok || !ok2 {
			return fmt.Errorf("lose %q: give whose messages to whom, and which, as in \"lose r0 > r2 1..3 7\"", rest)
		}
		p.drops = append(p.drops, [3]string{from, to, messages})
	case "at":
		return p.fault(fields[1:])
	default:
		return fmt.Errorf("%q is nothing that a script has; docs/simulator.md lists the lines", fields[0])
	}
	return nil
}

func (p *parser) settings(group []setting, fields []string) error {
	var names []string
	for _, x := range group {
		names = append(names, x.name)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "=")
		i := slices.Index(names, name)
		if i < 0 {
			return fmt.Errorf("%q: give names and values, as in %s=…, of %s", f, names[0], strings.Join(names, ", "))
		}
		if err := group[i].parse(&p.s.Options, value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (p *parser) adversary(text string) error {
	o := &p.s.Options
	names, who, ok := strings.Cut(text, " by ")
	who, lasts, _ := strings.Cut(who, ", ")
	if !ok {
		return fmt.Errorf("adversary %q: say who it is, as in \"adversary silent primary by r0\"", text)
	}
	o.Behaviours, o.Lying, o.Byzantine = nil, Persistence(lasts), nil
	for name := range strings.SplitSeq(names, " + ") {
		o.Behaviours = append(o.Behaviours, strings.TrimSpace(name))
	}
	for _, f := range strings.Fields(who) {
		id, ok := replicaOf(f)
		if !ok {
			return fmt.Errorf("adversary: %q is no replica, such as r0", f)
		}
		o.Byzantine = append(o.Byzantine, id)
	}
	return nil
}

func replicaOf(s string) (bft.ReplicaID, bool) {
	digits, ok := strings.CutPrefix(s, "r")
	id, err := strconv.ParseUint(digits, 10, 16)
	return bft.ReplicaID(id), ok && err == nil
}

// drop finds the endpoints of the messages that are lost.
func (p *parser) drop() error {
	o := &p.s.Options
	names := make([]string, max(0, min(o.endpoints(), 1000)))
	for i := range names {
		names[i] = endpointName(endpoint(i), o.instances())
	}
	for _, d := range p.drops {
		from, to := slices.Index(names, d[0]), slices.Index(names, d[1])
		if from < 0 || to < 0 {
			return fmt.Errorf("sim: lose %s > %s: there are %s", d[0], d[1], strings.Join(names, ", "))
		}
		messages, err := ParseRanges(d[2])
		if err != nil {
			return err
		}
		o.Drops = append(o.Drops, Drop{from, to, messages})
	}
	return nil
}

// fault reads what follows "at".
func (p *parser) fault(fields []string) error {
	var f Fault
	if len(fields) < 2 {
		return fmt.Errorf("at: give a time and a fault, as in \"at 20ms crash r1 until 40ms\"")
	}
	if err := f.At.parse(fields[0]); err != nil {
		return err
	}
	text := strings.Join(fields[1:], " ")
	for _, k := range FaultKinds() { // the longest that fits
		if strings.HasPrefix(text+" ", string(k)+" ") && len(k) > len(f.Kind) {
			f.Kind = k
		}
	}
	if f.Kind == "" {
		return fmt.Errorf("at %v: %q is no fault; there are %q", f.At, text, FaultKinds())
	}
	text = strings.TrimSpace(strings.TrimPrefix(text, string(f.Kind)))
	if quoted, err := strconv.QuotedPrefix(text); err == nil {
		if f.On, err = strconv.Unquote(quoted); err != nil {
			return err
		}
		text = text[len(quoted):]
	}
	words := strings.Fields(text)
	for len(words) > 0 {
		if id, ok := replicaOf(words[0]); ok {
			f.Targets, words = append(f.Targets, id), words[1:]
			continue
		}
		if words[0] == string(Permanent) {
			f.Lasts, words = Permanent, words[1:]
			continue
		}
		if len(words) < 2 {
			return fmt.Errorf("%s: nothing follows %q", f.Kind, words[0])
		}
		if err := f.detailOf(words[0], words[1]); err != nil {
			return err
		}
		words = words[2:]
	}
	p.s.Options.Faults = append(p.s.Options.Faults, f.lasting())
	return nil
}

func (f *Fault) detailOf(name, value string) (err error) {
	switch name {
	case "count":
		f.Count, err = strconv.Atoi(value)
	case "every":
		err = f.Every.parse(value)
	case "until":
		err = f.Until.parse(value)
	default:
		err = fmt.Errorf("%s: %q is neither a replica, such as r1, nor count, every, until or permanent", f.Kind, name)
	}
	return err
}

// lasting gives a fault the duration that its details imply.
func (f Fault) lasting() Fault {
	lasts := kinds[f.Kind].lasts
	switch {
	case f.Lasts != "":
	case f.Every > 0 && slices.Contains(lasts, Intermittent):
		f.Lasts = Intermittent
	case f.Until > 0 && slices.Contains(lasts, Transient):
		f.Lasts = Transient
	case f.Until > 0 && slices.Contains(lasts, Intermittent):
		f.Lasts = Intermittent
	}
	if f.Lasts == lasts[0] {
		f.Lasts = ""
	}
	return f
}
