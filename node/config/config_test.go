package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/internal/docstest"
	"github.com/baluarte-bft/baluarte/node/transport"
)

func testKey(i int) *crypto.PrivateKey {
	return crypto.NewKeyFromSeed(crypto.Hash("test-key", []byte(strconv.Itoa(i))))
}

func testManifest(n int) *Manifest {
	members := make([]Member, n)
	for i := range members {
		members[i] = Member{Name: fmt.Sprintf("r%d", i), Key: Key{testKey(i).Public()},
			Addresses: []string{fmt.Sprintf("127.0.0.1:%d", 20000+i)}}
	}
	m := NewManifest("test", []string{"kv", "counter"}, members)
	m.Protocol.CheckpointInterval, m.Protocol.Window = 512, 1024 // whatever the defaults are
	return m
}

func TestManifestRoundTrip(t *testing.T) {
	for n := 4; n <= 10; n++ {
		m := testManifest(n)
		if n%2 == 0 {
			m.Clients = []Key{{testKey(100).Public()}, {testKey(101).Public()}}
		}
		m.Protocol.RequestTimeout = Duration(90e9)
		m.Protocol.MaxTimeout = Duration(7200e9)
		m.Protocol.BundleSize = 1<<20 + 1<<16 + 1
		back, err := ParseManifest("m", m.Encode())
		if err != nil {
			t.Fatalf("n = %d: %v\n%s", n, err, m.Encode())
		}
		if !reflect.DeepEqual(m, back) {
			t.Errorf("n = %d: read back %+v, want %+v", n, back, m)
		}
		if m.ID() != back.ID() {
			t.Errorf("n = %d: the id changed", n)
		}
	}
}

// TestClusterID: layout and addresses do not count, everything else does.
func TestClusterID(t *testing.T) {
	base := testManifest(4)
	same := map[string]func(m *Manifest){
		"addresses":         func(m *Manifest) { m.Members[1].Addresses = []string{"example.org:1", "example.org:2"} },
		"order of services": func(m *Manifest) { m.Services[0], m.Services[1] = m.Services[1], m.Services[0] },
	}
	for name, change := range same {
		m := testManifest(4)
		change(m)
		if m.ID() != base.ID() {
			t.Errorf("%s: another id", name)
		}
	}
	other := map[string]func(m *Manifest){
		"name":             func(m *Manifest) { m.Name = "other" },
		"services":         func(m *Manifest) { m.Services = []string{"kv"} },
		"member name":      func(m *Manifest) { m.Members[0].Name = "x" },
		"member key":       func(m *Manifest) { m.Members[0].Key = Key{testKey(9).Public()} },
		"order of members": func(m *Manifest) { m.Members[0], m.Members[1] = m.Members[1], m.Members[0] },
		"one more member":  func(m *Manifest) { m.Members = testManifest(5).Members },
		"clients":          func(m *Manifest) { m.Clients = []Key{{testKey(9).Public()}} },
		"no clients":       func(m *Manifest) { m.Clients = []Key{} },
	}
	p := reflect.TypeOf(Protocol{})
	for i := range p.NumField() {
		other["protocol."+p.Field(i).Name] = func(m *Manifest) {
			f := reflect.ValueOf(&m.Protocol).Elem().Field(i)
			if f.CanInt() {
				f.SetInt(f.Int() + 1)
			} else {
				f.SetUint(f.Uint() + 1)
			}
		}
	}
	seen := map[crypto.Digest]string{base.ID(): "the unchanged one"}
	for name, change := range other {
		m := testManifest(4)
		change(m)
		if twin, ok := seen[m.ID()]; ok {
			t.Errorf("%s: the id of %s", name, twin)
		}
		seen[m.ID()] = name
	}
}

func TestClientsAreASet(t *testing.T) {
	a, b := testManifest(4), testManifest(4)
	k, l := Key{testKey(1).Public()}, Key{testKey(2).Public()}
	a.Clients, b.Clients = []Key{k, l}, []Key{l, k, l}
	if a.ID() != b.ID() {
		t.Error("the order of clients counts")
	}
	if !a.Admits(k.PublicKey) || a.Admits(testKey(3).Public()) || !testManifest(4).Admits(testKey(3).Public()) {
		t.Error("the list of clients is not what decides")
	}
}

// TestManifestRefused: each mistake is named, with its line where it has one.
func TestManifestRefused(t *testing.T) {
	good := string(testManifest(4).Encode())
	key0 := testKey(0).Public().String()
	keyLine := regexp.MustCompile(`key: "` + key0 + `"`)
	line := func(part string) string {
		return fmt.Sprintf("line %d", 1+strings.Count(good[:strings.Index(good, part)], "\n"))
	}
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"empty":            {"", []string{"the file is empty"}},
		"not yaml":         {"a: 1\n b: 2\n", []string{"line 2"}},
		"two documents":    {good + "---\nformat: 1\n", []string{"more than one YAML document"}},
		"no format":        {strings.Replace(good, "format: 1", "", 1), []string{"format: 0, this build reads format 1"}},
		"later format":     {strings.Replace(good, "format: 1", "format: 2", 1), []string{"format: 2"}},
		"unknown key":      {strings.Replace(good, "window:", "windows:", 1), []string{line("window:"), `unknown key "windows"`}},
		"repeated key":     {strings.Replace(good, "name: test", "name: test\nname: test", 1), []string{"already"}},
		"word for number":  {strings.Replace(good, "pipeline: 8", "pipeline: eight", 1), []string{line("pipeline:"), `"eight" is not a whole number`}},
		"negative":         {strings.Replace(good, "window: 1024", "window: -1", 1), []string{line("window:"), "not a whole number in range"}},
		"mapping for list": {strings.Replace(good, "members:", "members: {}\nx:", 1), []string{"a mapping is not a list"}},
		"no unit":          {strings.Replace(good, "request_timeout: 1s", "request_timeout: 1", 1), []string{line("request_timeout:"), "not a time with its unit"}},
		"bad size":         {strings.Replace(good, "bundle_size: 1280KiB", "bundle_size: 1MB", 1), []string{line("bundle_size:"), "not a size in bytes"}},
		"short key":        {keyLine.ReplaceAllString(good, `key: "00"`), []string{line("key:"), "has 2 characters, want 64"}},
		"key off curve":    {keyLine.ReplaceAllString(good, `key: "02`+strings.Repeat("0", 62)+`"`), []string{line("key:"), "mistyped digit"}},
		"same key twice":   {strings.Replace(good, testKey(1).Public().String(), key0, 1), []string{"the same"}},
		"same name twice":  {strings.Replace(good, "name: r1", "name: r0", 1), []string{`replicas 0 and 1 are both named "r0"`}},
		"same address":     {strings.Replace(good, "127.0.0.1:20001", "127.0.0.1:20000", 1), []string{"is also that of r0"}},
		"address w/o port": {strings.Replace(good, "127.0.0.1:20001", "127.0.0.1", 1), []string{"host:port"}},
		"port 0":           {strings.Replace(good, "127.0.0.1:20001", "127.0.0.1:0", 1), []string{"1 and 65535"}},
		"no service":       {regexp.MustCompile(`services:\n( +- .*\n)+`).ReplaceAllString(good, "services: []\n"), []string{"services: 0"}},
		"service twice":    {strings.Replace(good, "- counter", "- kv", 1), []string{`"kv" stands twice`}},
		"window too small": {strings.Replace(good, "window: 1024", "window: 512", 1), []string{"multiple of the checkpoint interval"}},
		"op over bundle":   {strings.Replace(good, "op_size: 1028KiB", "op_size: 2MiB", 1), []string{"op_size: 2MiB is not within"}},
		"bundle too large": {strings.Replace(good, "bundle_size: 1280KiB", "bundle_size: 1GiB", 1), []string{"max bundle bytes"}},
		"no client":        {good + "clients: []\n", []string{"admit nobody"}},
		"too long":         {good + strings.Repeat("# long\n", 200000), []string{"longer than"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "manifest.yaml")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := ReadManifest(path)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range append(c.want, path) {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q has no %q", err, w)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error of several lines: %q", err)
			}
		})
	}
}

func TestFewMembersRefused(t *testing.T) {
	for n := range 4 {
		if err := testManifest(n).Validate(); err == nil || !strings.Contains(err.Error(), "4 tolerate one fault") {
			t.Errorf("n = %d: %v", n, err)
		}
	}
}

func TestConfigRoundTrip(t *testing.T) {
	c := DefaultConfig()
	c.Member, c.Listen, c.HTTP = "r1", []string{"0.0.0.0:7000"}, Off
	c.Log.Subsystems = map[string]string{"node": "debug"}
	c.Limits.Memory = 0
	back, err := ParseConfig("c", c.Encode())
	if err != nil || !reflect.DeepEqual(c, back) {
		t.Errorf("read back %+v, %v, want %+v", back, err, c)
	}
	least, err := ParseConfig("c", []byte("format: 1\n"))
	if err != nil || !reflect.DeepEqual(least, DefaultConfig()) {
		t.Errorf("the least config is %+v, %v, want the defaults", least, err)
	}
}

func TestConfigRefused(t *testing.T) {
	for text, want := range map[string]string{
		"format: 1\nlisten: [\":70\"]":                "listen: address",
		"format: 1\nhttp: 0.0.0.0:80":                 "not a loopback address",
		"format: 1\nhttp: yes":                        "neither host:port nor off",
		"format: 1\ndiscovery: No Name":               "discovery:",
		"format: 1\ndata: \"\"":                       "data:",
		"format: 1\nlog: {level: loud}":               `log.level: "loud"`,
		"format: 1\nlog: {format: xml}":               `log.format: "xml"`,
		"format: 1\nlog: {subsystems: {node: x}}":     `"x" of node`,
		"format: 1\nmembers: {heartbeat: 1ms}":        "members: heartbeat: 1ms",
		"format: 1\nmembers: {unresponsive_after: 1}": "members: awaiting_after, unresponsive_after, disconnected_after: 1, 1 and 10",
		"format: 1\nmembers: {table_log: 10ms}":       "members.table_log: 10ms",
		"format: 1\nlimits: {memory: 1MiB}":           "limits.memory: 1MiB",
		"format: 1\nlimits: {clients: 0}":             "limits.clients: 0",
		"format: 1\nlimits: {peer_queue: 1KiB}":       "limits.peer_queue: 1KiB",
		"format: 1\nlimits: {clients: 1, typo: 2}":    `line 2: unknown key "typo"`,
		"format: 1\nlimits: {pool: 99999999999GiB}":   "too large",
		"format: 1\nlog: {level: debug, level: info}": "already",
		"{}": "format: 0",
	} {
		if _, err := ParseConfig("c", []byte(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %v, want one line with %q", text, err, want)
		}
	}
}

// flatten lists the scalars of a YAML document under dotted keys.
func flatten(t *testing.T, v any) map[string]string {
	t.Helper()
	data, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var n yaml.Node
	if err := yaml.Unmarshal(data, &n); err != nil {
		t.Fatal(err)
	}
	flat := map[string]string{}
	var walk func(prefix string, n *yaml.Node)
	walk = func(prefix string, n *yaml.Node) {
		if n.Kind != yaml.MappingNode {
			flat[strings.TrimPrefix(prefix, ".")] = n.Value
			return
		}
		for i := 0; i < len(n.Content); i += 2 {
			walk(prefix+"."+n.Content[i].Value, n.Content[i+1])
		}
	}
	walk("", n.Content[0])
	return flat
}

// TestDocumentedDefaults: docs/configuration.md lists every key of the files with
// the default that the code has, and no other key.
func TestDocumentedDefaults(t *testing.T) {
	docs := docstest.Tables(t, filepath.Join("..", "..", "docs", "configuration.md"))
	m := &Manifest{Format: ManifestFormat, Protocol: DefaultProtocol()}
	manifest := flatten(t, m)
	c := DefaultConfig()
	replica := flatten(t, c)
	for _, required := range []string{"name", "services", "members"} {
		manifest[required] = "required"
	}
	manifest["format"], replica["format"] = "required", "required"
	manifest["clients"] = "everyone"
	replica["member"], replica["listen"], replica["log.subsystems"] = "by key", "the manifest's", "none"
	for _, k := range []string{"members.name", "members.key", "members.addresses"} {
		manifest[k] = "required"
	}
	gateway := flatten(t, DefaultGateway())
	for _, k := range []string{"tls.certificate", "tls.key", "users", "users.passphrase_file", "log.subsystems"} {
		gateway[k] = "none"
	}
	gateway["format"], gateway["users.name"], gateway["users.token_sha256"] = "required", "required", "required"
	gateway["users.key"], gateway["users.rate"], gateway["users.operator"] = "the directory's", "limits.rate", "false"
	for section, want := range map[string]map[string]string{"manifest.yaml": manifest, "config.yaml": replica, "gateway.yaml": gateway} {
		got := docs[section]
		for k, v := range want {
			if got[k] != v {
				t.Errorf("%s: %s is documented as %q, the default is %q", section, k, got[k], v)
			}
		}
		for k := range got {
			if _, ok := want[k]; !ok {
				t.Errorf("%s: %s is documented, and does not exist", section, k)
			}
		}
	}
}

// limitFields lists the numbers of a struct of bounds as the documentation writes them.
func limitFields(v any) map[string]string {
	fields := map[string]string{}
	s := reflect.ValueOf(v)
	for i := range s.NumField() {
		name, f := s.Type().Field(i).Name, s.Field(i)
		if !s.Type().Field(i).IsExported() {
			continue
		}
		switch x := f.Interface().(type) {
		case time.Duration:
			fields[name] = Duration(x).String()
		case bft.Time:
			fields[name] = Duration(x).String()
		case int:
			fields[name] = strconv.Itoa(x)
			if strings.HasSuffix(name, "Bytes") {
				fields[name] = Bytes(x).String()
			}
		}
	}
	return fields
}

// TestDocumentedLimits: the same for the bounds that no file sets.
func TestDocumentedLimits(t *testing.T) {
	docs := docstest.Tables(t, filepath.Join("..", "..", "docs", "configuration.md"))
	connections := limitFields(transport.DefaultLimits())
	for _, set := range []string{"PeerQueueBytes", "ClientQueueBytes", "MaxClients", "MaxConnsPerKey", "MaxConnsPerIP"} {
		delete(connections, set) // by config.yaml
	}
	connections["MaxFrameBytes"] = Bytes(bft.MaxFrameBytes).String() // see node.Options
	clients := limitFields(bft.DefaultClientConfig())
	for _, set := range []string{"N", "MaxBundleOps", "MaxBundleBytes", "MaxOpBytes"} {
		delete(clients, set) // by the manifest
	}
	for section, want := range map[string]map[string]string{"Connections": connections, "Clients": clients} {
		if !reflect.DeepEqual(docs[section], want) {
			t.Errorf("%s: documented %v, the defaults are %v", section, docs[section], want)
		}
	}
}

func writeHome(t *testing.T, m *Manifest, c *Config, key *crypto.PrivateKey) string {
	t.Helper()
	dir := t.TempDir()
	if err := crypto.WriteKeyFile(filepath.Join(dir, KeyFile), key, nil); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(filepath.Join(dir, ManifestFile), m.Encode(), 0o644); err != nil {
		t.Fatal(err)
	}
	if c != nil {
		if err := WriteFile(filepath.Join(dir, ConfigFile), c.Encode(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestOpenHome(t *testing.T) {
	m := testManifest(5)
	h, err := OpenHome(writeHome(t, m, nil, testKey(3)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if h.Self != 3 || h.Member().Name != "r3" || h.Listen()[0] != "127.0.0.1:20003" || h.DataDir() != filepath.Join(h.Dir, "data") {
		t.Errorf("home %+v", h)
	}
	if h.Core.Self != 3 || h.Core.Cluster != m.ID() || h.Core.N() != 5 {
		t.Errorf("core %+v", h.Core)
	}
	c := DefaultConfig()
	c.Listen, c.Data, c.Member, c.Limits.BatchOps = []string{"[::1]:1"}, "/elsewhere", "r3", 1000
	h, err = OpenHome(writeHome(t, m, c, testKey(3)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if h.Listen()[0] != "[::1]:1" || h.DataDir() != "/elsewhere" || h.Core.MaxBatchOps != 1000 {
		t.Errorf("home %+v", h)
	}
}

func TestOpenHomeRefused(t *testing.T) {
	m := testManifest(4)
	named := DefaultConfig()
	named.Member = "r2"
	stranger := DefaultConfig()
	stranger.Member = "r9"
	small := DefaultConfig()
	small.Limits.BatchOps = 1
	for name, c := range map[string]struct {
		dir  string
		want []string
	}{
		"missing":         {filepath.Join(t.TempDir(), "none"), []string{"home directory", "no such file"}},
		"no manifest":     {t.TempDir(), []string{"manifest.yaml"}},
		"another's key":   {writeHome(t, m, named, testKey(1)), []string{"has public key " + testKey(1).Public().String(), "lists " + testKey(2).Public().String() + " for replica 2"}},
		"unlisted key":    {writeHome(t, m, nil, testKey(7)), []string{testKey(7).Public().String(), "for no replica"}},
		"unlisted member": {writeHome(t, m, stranger, testKey(1)), []string{`lists no replica "r9"`}},
		"limits":          {writeHome(t, m, small, testKey(1)), []string{"config.yaml: limits: max batch operations"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := OpenHome(c.dir, nil)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q has no %q", err, w)
				}
			}
		})
	}
	dir := writeHome(t, m, named, testKey(2))
	if err := os.Chmod(filepath.Join(dir, KeyFile), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenHome(dir, nil); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key file that all can read: %v", err)
	}
}

func TestWriteFileLeavesExisting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := WriteFile(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, []byte("two"), 0o600); err == nil {
		t.Error("overwritten")
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "one" {
		t.Errorf("the file holds %q, %v", data, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(testManifest(4).Encode())
	f.Add(DefaultConfig().Encode())
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := ParseManifest("m", data); err == nil {
			back, err := ParseManifest("m", m.Encode())
			if err != nil || back.ID() != m.ID() {
				t.Errorf("accepted, but not read back: %v\n%s", err, m.Encode())
			}
		}
		if c, err := ParseConfig("c", data); err == nil {
			if back, err := ParseConfig("c", c.Encode()); err != nil || !reflect.DeepEqual(c, back) {
				t.Errorf("accepted, but not read back: %v\n%s", err, c.Encode())
			}
		}
	})
}
