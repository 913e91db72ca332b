package crypto

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// testLeaves returns n different leaves.
func testLeaves(n int) []Digest {
	leaves := make([]Digest, n)
	for i := range leaves {
		leaves[i] = Hash("test-leaf", []byte(strconv.Itoa(i)))
	}
	return leaves
}

// TestMerkleShape writes out the trees of the first sizes by hand.
func TestMerkleShape(t *testing.T) {
	l := testLeaves(7)
	h := make([]Digest, len(l))
	for i := range l {
		h[i] = Hash("mt-leaf", l[i][:])
	}
	node := func(a, b Digest) Digest { return Hash("mt-node", a[:], b[:]) }
	root := func(n byte, top Digest) Digest { return Hash("mt-root", []byte{0, 0, 0, 0, 0, 0, 0, n}, top[:]) }
	four := node(node(h[0], h[1]), node(h[2], h[3]))
	for n, want := range []Digest{
		root(0, Digest{}),
		root(1, h[0]),
		root(2, node(h[0], h[1])),
		root(3, node(node(h[0], h[1]), h[2])),
		root(4, four),
		root(5, node(four, h[4])),
		root(6, node(four, node(h[4], h[5]))),
		root(7, node(four, node(node(h[4], h[5]), h[6]))),
	} {
		if got := MerkleRoot(l[:n]); got != want {
			t.Errorf("root of %d leaves %s, want %s", n, got, want)
		}
	}
}

// TestMerkleProofs: for every size and index the proof verifies, and nothing
// else about the tree does.
func TestMerkleProofs(t *testing.T) {
	const most = 40
	all := testLeaves(most + 1)
	for n := range most + 1 {
		leaves := all[:n]
		root := MerkleRoot(leaves)
		for i := range n {
			path := MerkleProve(leaves, i)
			if path == nil || !MerkleVerify(root, leaves[i], i, n, path) {
				t.Fatalf("leaf %d of %d does not verify", i, n)
			}
			for j := -1; j <= most; j++ {
				for m := -1; m <= most; m++ {
					if (j != i || m != n) && MerkleVerify(root, leaves[i], j, m, path) {
						t.Fatalf("leaf %d of %d verifies as %d of %d", i, n, j, m)
					}
				}
			}
		}
	}
}

func TestMerkleProveOutOfRange(t *testing.T) {
	for n := range 4 {
		for _, i := range []int{-1, n, n + 1} {
			if path := MerkleProve(testLeaves(n), i); path != nil {
				t.Errorf("leaf %d of %d has a path", i, n)
			}
		}
	}
}

// TestMerkleForgery: any change of a proof is noticed.
func TestMerkleForgery(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 300).Draw(t, "n")
		i := rapid.IntRange(0, n-1).Draw(t, "i")
		leaves := testLeaves(n)
		root, leaf, path := MerkleRoot(leaves), leaves[i], MerkleProve(leaves, i)
		if !MerkleVerify(root, leaf, i, n, path) {
			t.Fatal("the proof does not verify")
		}
		bit := func(d Digest) Digest {
			d[rapid.IntRange(0, 31).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			return d
		}
		if MerkleVerify(bit(root), leaf, i, n, path) {
			t.Fatal("another root")
		}
		if MerkleVerify(root, bit(leaf), i, n, path) {
			t.Fatal("another leaf")
		}
		if MerkleVerify(root, leaf, i, n, append(slices.Clone(path), bit(root))) {
			t.Fatal("a longer path")
		}
		if len(path) == 0 {
			return
		}
		at := rapid.IntRange(0, len(path)-1).Draw(t, "step")
		if MerkleVerify(root, leaf, i, n, slices.Delete(slices.Clone(path), at, at+1)) {
			t.Fatal("a shorter path")
		}
		path[at] = bit(path[at])
		if MerkleVerify(root, leaf, i, n, path) {
			t.Fatal("another path")
		}
	})
}

// TestMerkleNodeIsNoLeaf: the second-preimage trick of taking an inner node for
// a leaf of a smaller tree fails.
func TestMerkleNodeIsNoLeaf(t *testing.T) {
	l := testLeaves(4)
	upper := []Digest{nodeHash(leafHash(l[0]), leafHash(l[1])), nodeHash(leafHash(l[2]), leafHash(l[3]))}
	root := MerkleRoot(l)
	if MerkleRoot(upper) == root || MerkleVerify(root, upper[0], 0, 2, upper[1:]) {
		t.Error("inner nodes pass as leaves")
	}
}

// FuzzMerkleVerify: only the true proof verifies, whatever bytes come.
func FuzzMerkleVerify(f *testing.F) {
	leaves := testLeaves(11)
	root := MerkleRoot(leaves)
	for i := range leaves {
		f.Add(i, len(leaves), leaves[i][:], joinDigests(MerkleProve(leaves, i)))
	}
	f.Add(0, 1<<62, leaves[0][:], make([]byte, 62*DigestSize))
	f.Add(-1, 0, leaves[0][:], []byte{})
	f.Fuzz(func(t *testing.T, i, n int, leafBytes, pathBytes []byte) {
		if len(leafBytes) != DigestSize || len(pathBytes)%DigestSize != 0 {
			return
		}
		leaf := Digest(leafBytes)
		var path []Digest
		for p := range slices.Chunk(pathBytes, DigestSize) {
			path = append(path, Digest(p))
		}
		truth := n == len(leaves) && i >= 0 && i < n && leaf == leaves[i] && slices.Equal(path, MerkleProve(leaves, i))
		if got := MerkleVerify(root, leaf, i, n, path); got != truth {
			t.Errorf("leaf %d of %d: %v, want %v", i, n, got, truth)
		}
	})
}

func joinDigests(ds []Digest) []byte {
	var b []byte
	for _, d := range ds {
		b = append(b, d[:]...)
	}
	return b
}

func BenchmarkMerkleRoot(b *testing.B) {
	for _, n := range []int{64, 1024} {
		leaves := testLeaves(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				MerkleRoot(leaves)
			}
		})
	}
}
