package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// endCluster ends what runs in a directory, if anything does.
func endCluster(t testing.TB, dir string) {
	if _, err := os.Stat(filepath.Join(dir, "up.lock")); err != nil {
		return
	}
	out, err := exec.Command("bftnode", "down", "--dir", dir).CombinedOutput()
	if err != nil && !bytes.Contains(out, []byte("no cluster is running")) && !bytes.Contains(out, []byte("there is no cluster")) {
		t.Logf("ending the cluster in %s: %v: %s", dir, err, out)
	}
}

// cmdReplace changes a text in a file: replace FILE OLD NEW
func cmdReplace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace FILE OLD NEW")
	}
	path := ts.MkAbs(args[0])
	text, err := os.ReadFile(path)
	ts.Check(err)
	if !bytes.Contains(text, []byte(args[1])) {
		ts.Fatalf("%s has no %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(path, bytes.Replace(text, []byte(args[1]), []byte(args[2]), 1), 0o600))
}

// cmdCorrupt damages the largest file of a pattern: corrupt truncate|flip PATTERN
func cmdCorrupt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: corrupt truncate|flip PATTERN")
	}
	paths, err := filepath.Glob(ts.MkAbs(args[1]))
	ts.Check(err)
	var largest string
	var size int64
	for _, p := range paths {
		info, err := os.Stat(p)
		ts.Check(err)
		if info.Mode().IsRegular() && info.Size() > size {
			largest, size = p, info.Size()
		}
	}
	if largest == "" {
		ts.Fatalf("no file matches %s", args[1])
	}
	switch args[0] {
	case "truncate":
		ts.Check(os.Truncate(largest, size/2))
	case "flip":
		data, err := os.ReadFile(largest)
		ts.Check(err)
		data[len(data)/3] ^= 0x10
		ts.Check(os.WriteFile(largest, data, 0o600))
	default:
		ts.Fatalf("corrupt %s: unknown", args[0])
	}
}

// cmdOneLine wants the last command to have written one line to its standard error,
// which begins with the program's name.
func cmdOneLine(ts *testscript.TestScript, _ bool, _ []string) {
	text := ts.ReadFile("stderr")
	if strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, "bftnode: ") {
		ts.Fatalf("want one line that begins with bftnode, got %q", text)
	}
}

// freePorts returns n ports that nobody listens on now.
func freePorts(t testing.TB, n int) []int {
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports
}

// listen takes an address, as another program would.
func listen(t testing.TB, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}
