package meter

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"unsafe"

	"github.com/baluarte-bft/baluarte/bft"
)

// Scope says for whom a term is.
type Scope uint8

// The scopes of terms.
const (
	// Shared terms count once, whoever fills them.
	Shared Scope = iota
	// PerPeer terms count once for each member, the replica itself included: this much the words
	// of one member may occupy.
	PerPeer
	// PerClient terms are what one client may take of a shared one; they add nothing to the total.
	PerClient
	// PeerShare terms are the same for one member.
	PeerShare
)

// String names the scope.
func (s Scope) String() string {
	switch s {
	case Shared:
		return "shared"
	case PerPeer:
		return "per peer"
	case PerClient:
		return "per client"
	case PeerShare:
		return "peer's share"
	}
	return fmt.Sprintf("scope %d", uint8(s))
}

// Term is the bound of one queue, map or window: at most Count entries of at most Each bytes.
type Term struct {
	// Part is the part of the measured value that the term is for, see Formula.Check.
	Part string
	// What is kept, and Why there cannot be more of it.
	What, Why string
	Scope     Scope
	// Count is the number of entries; unless the term is Shared, of one peer or client.
	Count int64
	// Each is the size of an entry in bytes, as Size measures.
	Each int64
}

// Bytes is Count times Each: unless the term is Shared, what one peer or client may occupy.
func (t *Term) Bytes() int64 { return t.Count * t.Each }

// Formula bounds the memory of a replica or client, as a sum of terms.
type Formula struct {
	Terms []Term
	// Peers is the number by which PerPeer terms count.
	Peers int64
	// Frames, if set, are those that were handed to what is measured.
	Frames *Frames

	of    reflect.Type
	parts []part
}

// part is a group of fields that are measured as one, since they lead to the same memory.
type part struct {
	name   string
	fields []string
	// bundles is the part in which the bundles count that the fields lead to: they are large enough
	// to hide anything else.
	bundles string
	// why, for a part without terms, says why none is needed.
	why string
}

// Total is the bound of everything, in bytes.
func (f *Formula) Total() int64 {
	return f.sum(func(*Term) bool { return true })
}

// Of is the bound of one part, in bytes.
func (f *Formula) Of(part string) int64 {
	return f.sum(func(t *Term) bool { return t.Part == part })
}

func (f *Formula) sum(which func(*Term) bool) int64 {
	total := int64(0)
	for i := range f.Terms {
		switch t := &f.Terms[i]; {
		case !which(t):
		case t.Scope == PerPeer:
			total += f.Peers * t.Bytes()
		case t.Scope == Shared:
			total += t.Bytes()
		}
	}
	return total
}

// Each is the sum of the terms of one scope: what one peer, or one client, may occupy at most.
func (f *Formula) Each(s Scope) int64 {
	total := int64(0)
	for i := range f.Terms {
		if f.Terms[i].Scope == s {
			total += f.Terms[i].Bytes()
		}
	}
	return total
}

// Without is the formula with all terms left out whose What is the given one, to show that the
// comparison can fail.
func (f Formula) Without(what string) Formula {
	f.Terms = slices.DeleteFunc(slices.Clone(f.Terms), func(t Term) bool { return t.What == what })
	return f
}

// String prints the formula term by term, and the sums.
func (f *Formula) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "count\teach\tbytes\tscope\t  what")
	for i := range f.Terms {
		t := &f.Terms[i]
		fmt.Fprintf(w, "%d\t%s\t%s\t%v\t  %s: %s (%s)\n", t.Count, Bytes(t.Each), Bytes(t.Bytes()), t.Scope, t.Part, t.What, t.Why)
	}
	fmt.Fprintf(w, "\t\t%s\t\t  per peer\n", Bytes(f.Each(PerPeer)))
	fmt.Fprintf(w, "\t\t%s\t\t  of what is shared, one peer\n", Bytes(f.Each(PeerShare)))
	fmt.Fprintf(w, "\t\t%s\t\t  of what is shared, one client\n", Bytes(f.Each(PerClient)))
	fmt.Fprintf(w, "\t\t%s\t\t  in all, with %d peers\n", Bytes(f.Total()), f.Peers)
	w.Flush()
	return b.String()
}

// Bytes prints a number of bytes with three significant digits or more.
func Bytes(n int64) string {
	for _, u := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= 10*u.size {
			return fmt.Sprintf("%d %s", n/u.size, u.name)
		}
		if n >= u.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.size), u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}

// Use is the measured size of one part.
type Use struct {
	Part string
	// Bytes is what was measured, Bound what the formula allows.
	Bytes, Bound int64
}

// Measure gives the size of each part of v, a pointer to the type that the formula is for. What
// several parts lead to counts in each; bundles count in parts of their own. What a replica has gathered for its next Ready is left out: measure right after Ready.
func (f *Formula) Measure(v any) ([]Use, error) {
	r := reflect.ValueOf(v)
	if r.Kind() != reflect.Pointer || r.IsNil() || r.Type().Elem() != f.of {
		return nil, fmt.Errorf("meter: the formula is for a *%v, not for a %T", f.of, v)
	}
	at := paths(f.of)
	frames, alive := f.Frames.spans()
	defer runtime.KeepAlive(alive)
	bundles := make(map[string]*walker)
	var uses, ofBundles []Use
	for i := range f.parts {
		p := &f.parts[i]
		w := newWalker()
		w.apart, w.frames = reflect.TypeFor[bft.Bundle](), frames
		for _, name := range p.fields {
			field, ok := at[name]
			if !ok {
				return nil, fmt.Errorf("meter: %v has no field %s any more: state its terms anew", f.of, name)
			}
			delete(at, name)
			w.content(unsafe.Add(r.UnsafePointer(), field.offset), field.of)
		}
		size := w.finish()
		if p.why != "" {
			continue
		}
		uses = append(uses, Use{p.name, size, f.Of(p.name)})
		if bundles[p.bundles] == nil {
			bundles[p.bundles] = newWalker()
			bundles[p.bundles].frames = frames
			ofBundles = append(ofBundles, Use{Part: p.bundles})
		}
		for _, b := range w.found {
			bundles[p.bundles].reach(region{b, w.apart, 1})
		}
	}
	if len(at) > 0 {
		return nil, fmt.Errorf("meter: no term bounds the fields %s of %v", strings.Join(sortedNames(at), ", "), f.of)
	}
	for _, u := range ofBundles {
		if u.Part != "" || len(bundles[""].spans) > 0 {
			uses = append(uses, Use{u.Part, bundles[u.Part].finish(), f.Of(u.Part)})
		}
	}
	return uses, nil
}

// Check is oracle R1: it measures v and returns an error that names each part which is larger than
// its terms allow. See Measure for what v is and when to call.
func (f *Formula) Check(v any) error {
	uses, err := f.Measure(v)
	if err != nil {
		return err
	}
	var errs []error
	for _, u := range uses {
		if u.Bytes > u.Bound {
			errs = append(errs, fmt.Errorf("R1: %s hold %s, their terms allow %s", u.Part, Bytes(u.Bytes), Bytes(u.Bound)))
		}
	}
	return errors.Join(errs...)
}

type place struct {
	offset uintptr
	of     reflect.Type
}

// paths lists the fields of a struct that refer to other memory, those of structs in it by their path.
func paths(t reflect.Type) map[string]place {
	out := make(map[string]place)
	var add func(prefix string, offset uintptr, t reflect.Type)
	add = func(prefix string, offset uintptr, t reflect.Type) {
		for i := range t.NumField() {
			f := t.Field(i)
			switch name := prefix + f.Name; {
			case f.Type.Kind() == reflect.Struct:
				add(name+".", offset+f.Offset, f.Type)
			case hasPointers(f.Type):
				out[name] = place{offset + f.Offset, f.Type}
			}
		}
	}
	add("", 0, t)
	return out
}

func sortedNames(m map[string]place) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// structSizes gives the size of every struct type of package bft that t leads to, by name: what
// the terms are computed from stays true when a field is added.
func structSizes(t reflect.Type) map[string]int64 {
	home, sizes, seen := t.PkgPath(), make(map[string]int64), make(map[reflect.Type]bool)
	var visit func(reflect.Type)
	visit = func(t reflect.Type) {
		if seen[t] {
			return
		}
		seen[t] = true
		switch t.Kind() {
		case reflect.Struct:
			if t.PkgPath() == home {
				sizes[t.Name()] = int64(t.Size())
			}
			for i := range t.NumField() {
				visit(t.Field(i).Type)
			}
		case reflect.Map:
			visit(t.Key())
			visit(t.Elem())
		case reflect.Pointer, reflect.Slice, reflect.Array:
			visit(t.Elem())
		}
	}
	visit(t)
	return sizes
}
