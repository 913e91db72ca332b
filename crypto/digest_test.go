package crypto

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestHashEncoding pins what is hashed: replicas of different builds must agree.
func TestHashEncoding(t *testing.T) {
	want := sha256.Sum256([]byte("\x00\x00\x00\x00\x00\x00\x00\x01d" +
		"\x00\x00\x00\x00\x00\x00\x00\x02ab" +
		"\x00\x00\x00\x00\x00\x00\x00\x00" +
		"\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x01\x02"))
	if got := Hash("d", []byte("ab"), nil, []byte("\x00\x00\x00\x00\x00\x00\x01\x02")); got != want {
		t.Errorf("Hash = %s, want %x", got, want)
	}
	h := NewHasher("d")
	h.Part([]byte("ab"))
	h.Part(nil)
	h.Uint64(0x102)
	if got := h.Sum(); got != want {
		t.Errorf("Hasher = %s, want %x", got, want)
	}
}

// TestHasherIsHash: the short way on the stack and the long way agree, whatever
// the sizes, also after a Reset and with a Sum in the middle.
func TestHasherIsHash(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		domain := rapid.String().Draw(t, "domain")
		parts := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 300), 0, 6).Draw(t, "parts")
		want := Hash(domain, parts...)
		if got := hashLong(domain, parts); got != want {
			t.Fatalf("long way %s, Hash %s", got, want)
		}
		h := NewHasher(domain)
		h.Part([]byte("dropped"))
		h.Reset()
		for _, p := range parts {
			h.Sum()
			h.Part(p)
		}
		if got := h.Sum(); got != want {
			t.Fatalf("Hasher %s, Hash %s", got, want)
		}
	})
}

// TestHashSeparates: bytes moved between parts, or between the domain and a
// part, give another digest.
func TestHashSeparates(t *testing.T) {
	seen := make(map[Digest]string)
	add := func(name string, d Digest) {
		if other, ok := seen[d]; ok {
			t.Errorf("%s and %s have the same digest", name, other)
		}
		seen[d] = name
	}
	add("ab|c", Hash("x", []byte("ab"), []byte("c")))
	add("a|bc", Hash("x", []byte("a"), []byte("bc")))
	add("abc", Hash("x", []byte("abc")))
	add("abc|", Hash("x", []byte("abc"), nil))
	add("|abc", Hash("x", nil, []byte("abc")))
	add("xabc", Hash("xabc"))
	add("", Hash(""))
	add("one empty part", Hash("", nil))
}

func TestHashDoesNotAllocate(t *testing.T) {
	part := make([]byte, 200)
	d := Hash("x")
	var sink Digest
	if n := testing.AllocsPerRun(100, func() { sink = Hash("domain", part, d[:]) }); n != 0 {
		t.Errorf("Hash allocates %v times", n)
	}
	long := make([]byte, 2*hashBuffer)
	if n := testing.AllocsPerRun(100, func() { sink = Hash("domain", long, d[:]) }); n != 0 {
		t.Errorf("Hash of long parts allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { sink = nodeHash(leafHash(d), sink) }); n != 0 {
		t.Errorf("hashing nodes of a tree allocates %v times", n)
	}
	h := NewHasher("domain")
	if n := testing.AllocsPerRun(100, func() {
		h.Reset()
		h.Part(part)
		h.Uint64(7)
		h.Digest(d)
		sink = h.Sum()
	}); n > 0 {
		t.Errorf("a Hasher in use allocates %v times", n)
	}
	_ = sink
}

func TestDigestText(t *testing.T) {
	d := Hash("x")
	if len(d.String()) != 64 || d.Short() != d.String()[:8] {
		t.Errorf("String %q, Short %q", d, d.Short())
	}
	for _, s := range []string{d.String(), strings.ToUpper(d.String())} {
		if got, err := ParseDigest(s); err != nil || got != d {
			t.Errorf("ParseDigest(%q) = %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", d.String()[1:], d.String() + "00", "g" + d.String()[1:], " " + d.String()[1:]} {
		if got, err := ParseDigest(s); err == nil || !got.IsZero() {
			t.Errorf("ParseDigest(%q) = %v, %v, want an error and zero", s, got, err)
		}
	}
	text, err := json.Marshal(map[Digest]Digest{d: d})
	if err != nil {
		t.Fatal(err)
	}
	var back map[Digest]Digest
	if err := json.Unmarshal(text, &back); err != nil || back[d] != d {
		t.Errorf("%s read back as %v, %v", text, back, err)
	}
	kept := d
	if err := kept.UnmarshalText([]byte("00")); err == nil || kept != d {
		t.Errorf("a failed UnmarshalText: %v, left %v", err, kept)
	}
	if (Digest{}).IsZero() != true || d.IsZero() {
		t.Error("IsZero is wrong")
	}
}

func FuzzParseDigest(f *testing.F) {
	f.Add(Hash("x").String())
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDigest(s)
		if err == nil && d.String() != strings.ToLower(s) {
			t.Errorf("%q was read as %s", s, d)
		}
	})
}

func BenchmarkHash(b *testing.B) {
	for _, size := range []int{32, 256, 4096, 65536} {
		data := bytes.Repeat([]byte{7}, size)
		b.Run(sizeName(size), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				Hash("benchmark", data)
			}
		})
	}
}
