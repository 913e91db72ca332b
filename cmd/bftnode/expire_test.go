package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/node/config"
)

// far makes a directory from which the program reaches the cluster over the lines.
func (l *lines) far() string {
	l.r.t.Helper()
	dir := l.r.t.TempDir()
	m := l.r.manifest()
	for i, p := range l.proxies {
		m.Members[i].Addresses = []string{p.Addr()}
	}
	key, err := os.ReadFile(filepath.Join(l.r.dir, config.ClientKeyFile))
	if err != nil {
		l.r.t.Fatal(err)
	}
	for name, data := range map[string][]byte{config.ManifestFile: m.Encode(), config.ClientKeyFile: key} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			l.r.t.Fatal(err)
		}
	}
	return dir
}

// TestExpire: a put of the command line whose owner is killed, and which reaches the replicas late, is executed unless --expire
// bounds when it may be.
func TestExpire(t *testing.T) {
	t.Parallel()
	r := up(t, "--app", "kv")
	l, direct := newLines(r), r.dial()
	defer direct.Close()
	dir := l.far()
	for flag, executed := range map[string]bool{"": true, "--expire " + graceTime.String(): false} {
		t.Run(fmt.Sprintf("%q", flag), func(t *testing.T) {
			key := fmt.Sprintf("orphan-%v", executed)
			shell := exec.Command("bftnode", "shell", "--dir", dir)
			in, err := shell.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := shell.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := shell.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = shell.Process.Kill() // it may have ended
				_ = shell.Wait()
			}()
			fmt.Fprintln(in, "kv put begins 1\nkv get begins")
			if _, err := io.ReadFull(out, make([]byte, len("1\n"))); err != nil {
				t.Fatal(err)
			}
			before := make([]uint64, len(l.proxies))
			for i, p := range l.proxies {
				p.Hold(true, true)
				before[i], _ = p.UnderWay()
			}
			fmt.Fprintln(in, "kv put", key, strings.Repeat("o", orphanSize), flag)
			r.await("a request on its way to a quorum", func() (bool, string) {
				on := 0
				for i, p := range l.proxies {
					if now, _ := p.UnderWay(); now >= before[i]+orphanSize {
						on++
					}
				}
				return on >= 3, fmt.Sprint(on)
			})
			if err := shell.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			passTime(t, direct, graceTime)
			l.arrive()
			if executed {
				r.await("the orphan to be executed", func() (bool, string) { return has(t, direct, key), "" })
				return
			}
			for range 20 { // enough for what waits to be ordered
				if err := put(direct, "after"); err != nil {
					t.Fatal(err)
				}
			}
			if has(t, direct, key) {
				t.Error("it was executed after its time")
			}
		})
	}
}
