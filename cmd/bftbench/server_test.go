package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/baluarte-bft/baluarte/bench/single"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/client"
	"github.com/baluarte-bft/baluarte/node/config"
)

// startServer runs the command until the returned function is called, and returns a client of it.
func startServer(t *testing.T, dir string) (*client.Client, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	var errs bytes.Buffer
	ended := make(chan int)
	go func() {
		code := execute(ctx, []string{"server", "--dir", dir}, w, &errs, false)
		_ = w.Close() // never fails
		ended <- code
	}()
	lines := bufio.NewScanner(r)
	if !lines.Scan() {
		t.Fatalf("exit code %d without a line: %s", <-ended, errs.String())
	}
	address, key, ok := single.ParseReady(lines.Text())
	if !ok {
		t.Fatalf("it says %q, want its address and key", lines.Text())
	}
	like := config.NewManifest("like", []string{"counter", "kv"}, nil)
	own, err := crypto.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Dial(t.Context(), single.Manifest(like, key, address), own, client.Unreplicated())
	if err != nil {
		t.Fatal(err)
	}
	return c, func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		cancel()
		if code := <-ended; code != codeOK || errs.Len() != 0 {
			t.Errorf("it ended with exit code %d and %q, want 0 and nothing", code, errs.String())
		}
	}
}

// A server without replicas keeps its key and what was answered over a restart.
func TestServer(t *testing.T) {
	dir := t.TempDir()
	c, stop := startServer(t, dir)
	if result, err := c.Service("kv").Invoke(t.Context(), kv.Put([]byte("k"), []byte("v"))); err != nil {
		t.Error(err)
	} else if _, err := kv.DecodeDone(result); err != nil {
		t.Error(err)
	}
	stop()
	c, stop = startServer(t, dir)
	result, err := c.Service("kv").Query(t.Context(), kv.Get([]byte("k")), client.Linearizable)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := kv.DecodeGet(result); err != nil || string(got) != "v" {
		t.Errorf("the value is %q (%v) after a restart, want v", got, err)
	}
	stop()
}

// What cannot be served is told in one line.
func TestServerFailures(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		code int
	}{
		"no manifest":       {[]string{"server", "--dir", t.TempDir(), "--like", "nothing.yaml"}, codeUsage},
		"no such directory": {[]string{"server", "--dir", "server_test.go"}, codeUsage},
		"not our address":   {[]string{"server", "--dir", t.TempDir(), "--listen", "192.0.2.1:1"}, codeFailure},
	} {
		code, stdout, stderr := runLine(t, false, c.args...)
		if code != c.code || stdout != "" || bytes.Count([]byte(stderr), []byte("\n")) != 1 {
			t.Errorf("%s: exit code %d, output %q, %q, want one line", name, code, stdout, stderr)
		}
	}
}
