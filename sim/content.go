package sim

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// contentLines bounds what is said of one frame.
const contentLines = 120

// content prints all fields of a frame, one on a line, what is signed within decoded too.
func content(frame []byte) string {
	c := &contents{}
	t := wire.TypeOf(frame)
	c.line(0, "%v, %d bytes", t, len(frame))
	m := shapeOf(t, false)
	if m == nil || proto.Unmarshal(frame[1:], m) != nil {
		c.line(0, "that do not decode: %s", blob(frame))
	} else {
		c.message(0, m.ProtoReflect())
	}
	if c.lines > contentLines {
		c.line(-1, "… %d lines more", c.lines-contentLines)
	}
	return strings.TrimSuffix(c.b.String(), "\n")
}

// shapeOf makes an empty message as a frame of type t carries it, or as an envelope of that type has it in
// its payload; nil if there is none.
func shapeOf(t bft.MessageType, payload bool) proto.Message {
	if payload {
		switch t {
		case bft.TypePrePrepare:
			return &bftpb.Header{}
		case bft.TypeVotes:
			return &bftpb.Votes{}
		case bft.TypeCheckpoint:
			return &bftpb.Checkpoint{}
		case bft.TypeViewChange:
			return &bftpb.ViewChange{}
		case bft.TypeNewView:
			return &bftpb.NewView{}
		}
		return nil
	}
	switch t {
	case bft.TypeRequest:
		return &bftpb.Request{}
	case bft.TypePrePrepare:
		return &bftpb.PrePrepare{}
	case bft.TypeVotes, bft.TypeCheckpoint, bft.TypeViewChange, bft.TypeNewView:
		return &bftpb.Envelope{}
	case bft.TypeStatus:
		return &bftpb.Status{}
	case bft.TypeFetch:
		return &bftpb.Fetch{}
	case bft.TypeData:
		return &bftpb.Data{}
	case bft.TypeQuery:
		return &bftpb.Query{}
	case bft.TypeAnswer:
		return &bftpb.Answer{}
	case bft.TypeReply:
		return &bftpb.Reply{}
	case bft.TypeBusy:
		return &bftpb.Busy{}
	}
	return nil
}

// contents is a text of a bounded number of lines.
type contents struct {
	b     strings.Builder
	lines int
}

// line writes a line, at a depth of -1 in any case.
func (c *contents) line(depth int, format string, args ...any) {
	if c.lines++; c.lines <= contentLines || depth < 0 {
		c.b.WriteString(strings.Repeat("  ", max(depth, 0)))
		fmt.Fprintf(&c.b, format, args...)
		c.b.WriteByte('\n')
	}
}

// message prints the fields in the order of their numbers: the numbers among them, which mean something when
// they are 0 too, and of the others those that are set.
func (c *contents) message(depth int, m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case !m.Has(f) && f.Kind() != protoreflect.Uint32Kind && f.Kind() != protoreflect.Uint64Kind:
		case f.Name() == "type":
			// What it says stands at the head of the payload.
		case f.IsList():
			list := m.Get(f).List()
			for k := range list.Len() {
				c.field(depth, m, f, fmt.Sprintf("%s %d", f.Name(), k+1), list.Get(k))
			}
		default:
			c.field(depth, m, f, string(f.Name()), m.Get(f))
		}
	}
}

func (c *contents) field(depth int, of protoreflect.Message, f protoreflect.FieldDescriptor, name string, v protoreflect.Value) {
	name = strings.ReplaceAll(name, "_", " ")
	switch {
	case f.Name() == "phase":
		c.line(depth, "%s: %v", name, bft.Phase(v.Uint()))
	case f.Kind() == protoreflect.MessageKind:
		c.line(depth, "%s", name)
		c.message(depth+1, v.Message())
	case f.Name() == "payload":
		c.payload(depth, of, v.Bytes())
	case f.Kind() == protoreflect.BytesKind:
		c.line(depth, "%s: %s", name, blob(v.Bytes()))
	case f.Kind() == protoreflect.Fixed64Kind:
		c.line(depth, "%s: %x", name, v.Uint())
	default:
		c.line(depth, "%s: %v", name, v.Interface())
	}
}

// payload decodes what an envelope or a request has signed.
func (c *contents) payload(depth int, of protoreflect.Message, b []byte) {
	var m proto.Message
	switch x := of.Interface().(type) {
	case *bftpb.Envelope:
		m = shapeOf(bft.MessageType(x.Type), true)
		if m != nil {
			c.line(depth, "%v", bft.MessageType(x.Type))
		}
	case *bftpb.Request:
		m = &bftpb.Bundle{}
		c.line(depth, "bundle")
	}
	if m == nil || proto.Unmarshal(b, m) != nil {
		c.line(depth+1, "payload that does not decode: %s", blob(b))
		return
	}
	c.message(depth+1, m.ProtoReflect())
}

// blob prints bytes: as text if they are one, else in hexadecimal, and no more than says something.
func blob(b []byte) string {
	const most = 24
	if len(b) <= 2*most && utf8.Valid(b) && len(b) > 0 && strings.IndexFunc(string(b), func(c rune) bool { return !unicode.IsPrint(c) }) < 0 {
		return fmt.Sprintf("%q", b)
	}
	if len(b) > most {
		return fmt.Sprintf("%x… (%d bytes)", b[:8], len(b))
	}
	return fmt.Sprintf("%x", b)
}
