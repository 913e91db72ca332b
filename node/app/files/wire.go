package files

import (
	"encoding/binary"

	"github.com/baluarte-bft/baluarte/bft"
)

func appendField(b, field []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(field))), field...)
}

func appendNumber(b []byte, n uint64) []byte { return binary.AppendUvarint(b, n) }

// anyNumber is the limit of a number that has none of its own.
const anyNumber = 1<<63 - 1

// fields reads what the functions above write; bad is set for good by the first field that is malformed
// or beyond its limit.
type fields struct {
	rest []byte
	bad  bool
}

// end tells whether all was well, and nothing is left.
func (f *fields) end() bool { return !f.bad && len(f.rest) == 0 }

// number reads a varint in its shortest form, at most limit.
func (f *fields) number(limit uint64) uint64 {
	v, n := binary.Uvarint(f.rest)
	if f.bad || n <= 0 || v > limit || n > 1 && f.rest[n-1] == 0 {
		f.bad = true
		return 0
	}
	f.rest = f.rest[n:]
	return v
}

// next reads a field of at most limit bytes.
func (f *fields) next(limit uint64) []byte {
	return f.take(f.number(limit))
}

func (f *fields) take(n uint64) []byte {
	if f.bad || n > uint64(len(f.rest)) {
		f.bad = true
		return nil
	}
	field := f.rest[:n:n]
	f.rest = f.rest[n:]
	return field
}

// name reads a name, which must be a good one.
func (f *fields) name() string {
	s := string(f.next(MaxName))
	f.bad = f.bad || CheckName(s) != nil
	return s
}

func (f *fields) digest() (d bft.Digest) {
	copy(d[:], f.take(uint64(len(d))))
	return d
}

func (f *fields) client() (c bft.ClientID) {
	copy(c[:], f.take(uint64(len(c))))
	return c
}

// bigEndian gives the bytes of a number whose order is that of the numbers.
func bigEndian(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
