package crypto

import (
	"bytes"
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"
)

func TestHistoryIsMerkle(t *testing.T) {
	leaves := testLeaves(300)
	var h History
	for n := range leaves {
		if h.Len() != uint64(n) || h.Root() != MerkleRoot(leaves[:n]) {
			t.Fatalf("after %d leaves: length %d, root %s, want %s", n, h.Len(), h.Root(), MerkleRoot(leaves[:n]))
		}
		h.Append(leaves[n])
	}
	for i, leaf := range leaves {
		if !MerkleVerify(h.Root(), leaf, i, len(leaves), MerkleProve(leaves, i)) {
			t.Fatalf("leaf %d does not verify against the history", i)
		}
	}
}

// TestHistoryResumes: a history stored at any point and read back goes on as if
// nothing had happened, and copies are independent.
func TestHistoryResumes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := rapid.IntRange(0, 200).Draw(t, "before")
		after := rapid.IntRange(0, 50).Draw(t, "after")
		leaves := testLeaves(before + after)
		var h History
		for _, leaf := range leaves[:before] {
			h.Append(leaf)
		}
		stored, err := h.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var back History
		back.Append(Digest{1}) // what was there before must not matter
		if err := back.UnmarshalBinary(stored); err != nil || back != h {
			t.Fatalf("read back: %v, equal %v", err, back == h)
		}
		kept, keptRoot := back, back.Root()
		for _, leaf := range leaves[before:] {
			back.Append(leaf)
		}
		if back.Root() != MerkleRoot(leaves) {
			t.Fatal("the resumed history has another root")
		}
		if kept.Root() != keptRoot {
			t.Fatal("appending changed a copy")
		}
	})
}

func TestHistoryRefusesOtherBytes(t *testing.T) {
	var h History
	for _, leaf := range testLeaves(5) {
		h.Append(leaf)
	}
	good, _ := h.MarshalBinary()
	change := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(good)) }
	for name, b := range map[string][]byte{
		"empty":        nil,
		"header alone": good[:historyHeader],
		"short header": good[:historyHeader-1],
		"cut":          good[:len(good)-1],
		"extended":     append(bytes.Clone(good), 0),
		"version 0":    change(func(b []byte) []byte { b[0] = 0; return b }),
		"version 2":    change(func(b []byte) []byte { b[0] = 2; return b }),
		"more leaves":  change(func(b []byte) []byte { b[8] = 7; return b }),
		"fewer leaves": change(func(b []byte) []byte { b[8] = 4; return b }),
		"too many leaves": change(func(b []byte) []byte {
			binary.BigEndian.PutUint64(b[1:], 1<<63|1)
			return b
		}),
	} {
		kept := h
		if err := kept.UnmarshalBinary(b); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if kept != h {
			t.Errorf("%s: the history was changed", name)
		}
	}
}

// TestHistoryBound: a history read back at the bound is refused one more leaf
// rather than overflowing.
func TestHistoryBound(t *testing.T) {
	full := binary.BigEndian.AppendUint64([]byte{historyVersion}, historyMaxLeaves)
	full = append(full, make([]byte, DigestSize)...)
	var h History
	if err := h.UnmarshalBinary(full); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a full history took a leaf")
		}
	}()
	h.Append(Digest{})
}

// FuzzHistory: what is accepted is written back unchanged and can be used.
func FuzzHistory(f *testing.F) {
	var h History
	for _, leaf := range testLeaves(9) {
		b, _ := h.MarshalBinary()
		f.Add(b)
		h.Append(leaf)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var h History
		if h.UnmarshalBinary(b) != nil {
			if h != (History{}) {
				t.Error("a refused history left something behind")
			}
			return
		}
		back, err := h.MarshalBinary()
		if err != nil || !bytes.Equal(back, b) {
			t.Errorf("%x was written back as %x, %v", b, back, err)
		}
		root := h.Root()
		if h.Len() < historyMaxLeaves {
			h.Append(Digest{7})
			if h.Root() == root {
				t.Error("a leaf left the root as it was")
			}
		}
	})
}

func BenchmarkHistory(b *testing.B) {
	var h History
	leaf := Hash("leaf")
	b.Run("Append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h.Append(leaf)
		}
	})
	b.Run("Root", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h.Root()
		}
	})
}
