package cli

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/config"
	"github.com/baluarte-bft/baluarte/node/internal/docstest"
	"github.com/baluarte-bft/baluarte/node/transport"
)

func testManifest(t *testing.T, n int) *config.Manifest {
	t.Helper()
	var members []config.Member
	for i := range n {
		key := crypto.NewKeyFromSeed(crypto.Hash("cli-test", []byte{byte(i)}))
		members = append(members, config.Member{Name: string(rune('a' + i)), Key: config.Key{PublicKey: key.Public()},
			Addresses: []string{"127.0.0.1:" + string(rune('1'+i))}})
	}
	m := config.NewManifest("test", []string{"kv"}, members)
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestStatusStates: what an observer makes of what it sees of a replica.
func TestStatusStates(t *testing.T) {
	now := time.Now()
	recent, old := now.Add(-statusTick), now.Add(-10*statusTick)
	active := answer{PID: 7, State: StateActive}
	refused := errors.New("connection refused")
	for name, c := range map[string]struct {
		began time.Time
		seen  sighting
		want  string
	}{
		"answers":                     {old, sighting{last: active, at: now, now: true}, StateActive},
		"says that it waits":          {old, sighting{last: answer{State: StateAwaiting}, at: now, now: true}, StateAwaiting},
		"says nonsense":               {old, sighting{last: answer{State: "fine"}, at: recent, now: true}, StateAwaiting},
		"missed one question":         {old, sighting{last: active, at: recent}, StateAwaiting},
		"missed many":                 {old, sighting{last: active, at: old}, StateUnresponsive},
		"connected, nothing heard":    {recent, sighting{}, StateAwaiting},
		"connected, silent for long":  {old, sighting{}, StateUnresponsive},
		"refused":                     {old, sighting{last: active, at: recent, down: refused}, StateDisconnected},
		"not connected yet":           {recent, sighting{down: transport.ErrNotConnected}, StateDisconnected},
		"does not finish a handshake": {old, sighting{down: transport.ErrNotConnected}, StateUnresponsive},
		"times out":                   {old, sighting{down: context.DeadlineExceeded}, StateUnresponsive},
	} {
		w := &watcher{began: c.began}
		if got, _ := w.state(&c.seen, now); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// TestStatusRolesAndMissing: the primary is that of the view which most are in; what
// is missing for a quorum is said.
func TestStatusRolesAndMissing(t *testing.T) {
	now := time.Now()
	w := &watcher{manifest: testManifest(t, 4), began: now.Add(-time.Hour), seen: make([]sighting, 4)}
	for i := range w.seen {
		w.seen[i] = sighting{last: answer{PID: 1 + i, State: StateActive, View: 5}, at: now, now: true}
	}
	s := w.status(now)
	if s.Replicas[1].Role != RolePrimary || s.Replicas[0].Role != RoleBackup || s.missing() != "" {
		t.Errorf("view 5 of 4: %+v, missing %q", s.Replicas, s.missing())
	}
	w.seen[3].last.View = 4 // one behind does not matter
	if s := w.status(now); s.missing() != "" {
		t.Errorf("three of four in a view: missing %q", s.missing())
	}
	w.seen[2].last.View = 4
	if s := w.status(now); s.missing() != "4 of 4 reachable, 4 active, 2 in one view, 3 needed" {
		t.Errorf("two and two: missing %q", s.missing())
	}
	w.seen[2], w.seen[3] = sighting{down: errors.New("gone")}, sighting{down: errors.New("gone")}
	s = w.status(now)
	if s.Replicas[1].Role != RolePrimary || s.Replicas[2].Role != RoleBackup {
		t.Errorf("f+1 tell that view 5 goes on: %+v", s.Replicas)
	}
	if s.missing() != "2 of 4 reachable, 3 needed" || s.notes() != "c, d: gone" {
		t.Errorf("two gone: missing %q, notes %q", s.missing(), s.notes())
	}
	if s.Quorum != bft.Quorum(4) || s.F != 1 || s.Observer != "client" || s.Replicas[2].PID != 0 {
		t.Errorf("status %+v", s)
	}
}

// TestRoleOfTheUnreachable: of a replica that does not answer it is said whether it is the primary only if f+1 others tell.
func TestRoleOfTheUnreachable(t *testing.T) {
	now := time.Now()
	w := &watcher{manifest: testManifest(t, 4), began: now.Add(-time.Hour), seen: make([]sighting, 4)}
	gone := errors.New("gone")
	for i := range w.seen {
		w.seen[i] = sighting{down: gone}
	}
	w.seen[3] = sighting{last: answer{PID: 4, State: StateActive, View: 3}, at: now, now: true}
	for i, want := range []string{RoleUnknown, RoleUnknown, RoleUnknown, RolePrimary} {
		if r := w.status(now).Replicas[i]; r.Role != want {
			t.Errorf("one of four answers: replica %d is %s, want %s", i, r.Role, want)
		}
	}
	w.seen[0] = sighting{last: answer{PID: 1, State: StateActive, View: 0}, at: now.Add(-time.Hour), down: gone}
	w.seen[2] = sighting{last: answer{PID: 3, State: StateActive, View: 0}, at: now.Add(-time.Hour), down: gone}
	if r := w.status(now).Replicas[0]; r.Role != RoleUnknown {
		t.Errorf("what two said an hour ago: replica 0 is %s", r.Role)
	}
	w.seen[2] = sighting{last: answer{PID: 3, State: StateActive, View: 3}, at: now, now: true}
	if r := w.status(now).Replicas[0]; r.Role != RoleBackup {
		t.Errorf("two of four tell of view 3: replica 0 is %s", r.Role)
	}
}

func TestParseMember(t *testing.T) {
	key := crypto.NewKeyFromSeed(crypto.Hash("cli-test")).Public()
	m, err := parseMember("a=" + key.String() + "@h:1,[::1]:2")
	if err != nil || m.Name != "a" || m.Key.PublicKey != key || strings.Join(m.Addresses, " ") != "h:1 [::1]:2" {
		t.Errorf("%+v, %v", m, err)
	}
	for _, s := range []string{"", "a", "a=b", "a@b", "a=00@h:1", key.String() + "@h:1"} {
		if _, err := parseMember(s); codeOf(err) != CodeUsage {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// TestTail: lines are printed once, whole, and over a change of the file.
func TestTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	write := func(text string) {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	tail := newTail(&out, []*tailFile{{path: path, prefix: "r0 "}})
	defer tail.close()
	step := func(want string) {
		t.Helper()
		if err := tail.copyAll(); err != nil {
			t.Fatal(err)
		}
		if out.String() != want {
			t.Errorf("printed %q, want %q", out.String(), want)
		}
		out.Reset()
	}
	step("") // no file yet
	write("one\ntwo\nthr")
	step("r0 one\nr0 two\n")
	write("ee\n")
	step("r0 three\n")
	// The log is set aside while somebody has it open for appending.
	log, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if err := trimLog(path, 1000); err != nil {
		t.Fatal(err)
	}
	step("")
	if err := trimLog(path, 3); err != nil {
		t.Fatal(err)
	}
	if aside, err := os.ReadFile(path + ".1"); err != nil || string(aside) != "one\ntwo\nthree\n" {
		t.Errorf("set aside: %q, %v", aside, err)
	}
	log.WriteString("new\n")
	step("")
	step("r0 new\n")
	write(strings.Repeat("x", maxLineBytes+10) + "\n")
	step("r0 " + strings.Repeat("x", maxLineBytes) + "\nr0 " + strings.Repeat("x", 10) + "\n")
}

func TestLastLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for text, want := range map[string]string{"": "", "one": "one", "one\ntwo\n": "two", "one\n" + strings.Repeat("x", 5000) + "\nend\n\n": "end"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := lastLine(path); got != want {
			t.Errorf("%.20q: %q, want %q", text, got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{"plain ü": "plain ü", "a\tb": `"a\tb"`, "\xff": `"\xff"`, "\x1b[2J": `"\x1b[2J"`} {
		if got := printable([]byte(in)); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	pair := map[string]string{}
	addText(pair, "key", []byte("k"))
	addText(pair, "value", []byte{0xff})
	if pair["key"] != "k" || pair["value_base64"] != "/w==" || len(pair) != 2 {
		t.Errorf("%v", pair)
	}
}

// TestProgramIsChecked: what the author of a program can do wrong is told at once.
func TestProgramIsChecked(t *testing.T) {
	kv := KV()
	for want, services := range map[string][]Service{
		"hosts no service":          nil,
		"two services are named":    {kv, kv},
		"not a valid name":          {{Name: "K V", New: kv.New}},
		"has no factory":            {{Name: "kv"}},
		`"up" is that of a command`: {{Name: "up", New: kv.New, Commands: kv.Commands}},
	} {
		var out, errs bytes.Buffer
		p := Program{Name: "prog", Services: services}
		if code := p.Execute(t.Context(), []string{"version"}, strings.NewReader(""), &out, &errs); code != CodeFailure || !strings.Contains(errs.String(), want) {
			t.Errorf("exit code %d, %q, want %q", code, errs.String(), want)
		}
	}
}

// TestFreePortsDiffer: ports are distinct, and below those of outgoing connections.
func TestFreePortsDiffer(t *testing.T) {
	ports, err := freePorts(20)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, p := range ports {
		if seen[p] || p < lowestPort || p >= highestPort {
			t.Errorf("port %d of %v", p, ports)
		}
		seen[p] = true
	}
}

// TestCreateIsWhole: a directory with remains of something else is refused, and left
// as it is; what an interrupted creation left is not in the way.
func TestCreateIsWhole(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".creating-1"), 0o700); err != nil {
		t.Fatal(err)
	}
	c, err := createCluster(dir, 4, []string{"kv"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.checkHomes(); err != nil {
		t.Fatal(err)
	}
	opened, err := openCluster(dir)
	if err != nil || opened.manifest.ID() != c.manifest.ID() {
		t.Errorf("opened %v, %v", opened, err)
	}
	if err := os.Remove(filepath.Join(dir, config.ManifestFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := createCluster(dir, 4, []string{"kv"}); err == nil || !strings.Contains(err.Error(), "put the manifest back") {
		t.Errorf("made again over the remains: %v", err)
	}
	if _, err := os.Stat(filepath.Join(c.home(3), config.KeyFile)); err != nil {
		t.Errorf("a key is gone: %v", err)
	}
}

// TestCreationIsFinished: a cluster whose creation was interrupted while it was put in its place is whole with the next
// up, wherever that was; a client key that was there before stays.
func TestCreationIsFinished(t *testing.T) {
	dir := t.TempDir()
	if err := newClientKey(filepath.Join(dir, config.ClientKeyFile)); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, config.ClientKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	c, err := createCluster(dir, 4, []string{"kv"})
	if err != nil {
		t.Fatal(err)
	}
	if key, err := os.ReadFile(c.path(config.ClientKeyFile)); err != nil || !bytes.Equal(key, before) {
		t.Errorf("the client key was replaced: %v", err)
	}
	for moved := range 5 { // homes that were in their place
		work := filepath.Join(dir, creating+"1")
		if err := os.Mkdir(work, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{config.ManifestFile, "r3", "r2", "r1", "r0"}[:5-moved] {
			if err := os.Rename(c.path(name), filepath.Join(work, name)); err != nil {
				t.Fatal(err)
			}
		}
		u := upFlags{dir: dir, program: &Program{Services: []Service{KV()}}}
		opened, err := u.prepare()
		if err != nil || opened.manifest.ID() != c.manifest.ID() {
			t.Fatalf("%d homes in their place: %v", moved, err)
		}
		if _, err := os.Stat(work); err == nil {
			t.Errorf("%s is still there", work)
		}
	}
	// One that was not whole is none, and another is made.
	empty := t.TempDir()
	if err := os.Mkdir(filepath.Join(empty, creating+"2"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(empty, creating+"2", config.ManifestFile), []byte("form"), 0o600); err != nil {
		t.Fatal(err)
	}
	u := upFlags{dir: empty, program: &Program{Services: []Service{KV()}}, nodes: 4, apps: []string{"kv"}}
	if made, err := u.prepare(); err != nil || made.manifest.ID() == c.manifest.ID() {
		t.Errorf("beside the remains of another: %v", err)
	}
}

// TestDocumentedBounds: docs/configuration.md lists the bounds of the commands as the
// code has them.
func TestDocumentedBounds(t *testing.T) {
	docs := docstest.Tables(t, filepath.Join("..", "..", "docs", "configuration.md"))
	d := func(v time.Duration) string { return config.Duration(v).String() }
	want := map[string]string{
		"--timeout": d(DefaultTimeout), "up --timeout": d(upTimeout), "down --timeout": d(2 * stopGrace),
		"restartMin": d(restartMin), "restartMax": d(restartMax), "restartReset": d(restartReset), "stopGrace": d(stopGrace),
		"maxLogBytes": config.Bytes(maxLogBytes).String(), "statusTick": d(statusTick),
	}
	if got := docs["Commands"]; !maps.Equal(got, want) {
		t.Errorf("documented %v, the code has %v", got, want)
	}
}
