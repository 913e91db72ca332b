package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/config"
	"github.com/baluarte-bft/baluarte/node/transport"
)

// patience bounds every wait; only tests that fail reach it.
const patience = 20 * time.Second

func key(i byte) *crypto.PrivateKey { return crypto.NewKeyFromSeed([32]byte{i, 42}) }

// manifestOf is a cluster whose keys begin with a number.
func manifestOf(first byte) *config.Manifest {
	var members []config.Member
	for i := range byte(4) {
		members = append(members, config.Member{Name: fmt.Sprintf("r%d", i), Key: config.Key{PublicKey: key(first + i).Public()},
			Addresses: []string{fmt.Sprintf("127.0.0.1:%d", 1+i)}})
	}
	return config.NewManifest("acme", []string{"echo"}, members)
}

// server hands out a manifest, as a replica does.
type server struct {
	file []byte
	net  *transport.Server
}

func (s *server) FromPeer(int, []byte)             {}
func (s *server) PeerState(int, bool)              {}
func (s *server) ClientGone(*transport.ClientConn) {}
func (s *server) FromClient(c *transport.ClientConn, frame []byte) {
	if frame[0] == FrameManifestRequest {
		c.Send(append([]byte{FrameManifest}, s.file...))
	}
}

// serve starts member i of a cluster, which hands out some manifest, and returns its announcement.
func serve(t *testing.T, m *config.Manifest, first byte, i int, file []byte) Announcement {
	t.Helper()
	s := &server{file: file}
	var members []transport.Member
	for _, x := range m.Members {
		members = append(members, transport.Member{Key: x.Key.PublicKey, Addrs: x.Addresses})
	}
	var err error
	s.net, err = transport.Listen(transport.ServerConfig{Key: key(first + byte(i)), Self: i, Cluster: m.ID(), Members: members,
		Listen: []string{"127.0.0.1:0"}, Handler: s})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.net.Close() })
	return Announcement{Name: "acme", Cluster: m.ID(), Key: key(first + byte(i)).Public(), Member: m.Members[i].Name, Addresses: s.net.Addrs()}
}

// find has a finder hear announcements, and waits for what comes of it.
func find(ctx context.Context, want crypto.Digest, heard ...Announcement) (*Found, error) {
	f := newFinder("acme", want, nil, key(99))
	for _, a := range heard {
		f.hear(a)
	}
	m, err := f.run(ctx)
	if err != nil {
		return nil, err
	}
	return f.complete(m), nil
}

// A cluster is found by its id, through whichever of its replicas is there, and also if others lie.
func TestFindWanted(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m, other := manifestOf(1), manifestOf(11)
	genuine := serve(t, m, 1, 2, m.Encode())
	stranger := serve(t, other, 11, 0, other.Encode())
	// They have the id of the cluster that is wanted, and not its keys; or a key of it, and another manifest.
	claims := stranger
	claims.Cluster = m.ID()
	liar := serve(t, m, 1, 1, other.Encode())
	gone := genuine
	gone.Addresses = []string{"127.0.0.1:1"}
	elsewhere := genuine
	elsewhere.Name = "another"
	elsewhere.Addresses = []string{"127.0.0.1:2"}

	found, err := find(ctx, m.ID(), stranger, claims, liar, gone, elsewhere, genuine)
	if err != nil {
		t.Fatal(err)
	}
	if found.Manifest.ID() != m.ID() {
		t.Errorf("found %s", found.Manifest.ID())
	}
	if len(found.Strangers) != 1 || found.Strangers[0] != other.ID() {
		t.Errorf("strangers: %v", found.Strangers)
	}
	want := append([]string{"127.0.0.1:3"}, genuine.Addresses...)
	if got := found.Manifest.Members[2].Addresses; !slices.Equal(got, want) {
		t.Errorf("addresses %v, want %v", got, want)
	}
	if err := found.Manifest.Validate(); err != nil {
		t.Error(err)
	}
}

// Whoever is not the cluster that is wanted is refused; without an id the only one is believed, and of several none.
func TestFindRefuses(t *testing.T) {
	m, other := manifestOf(1), manifestOf(11)
	genuine, stranger := serve(t, m, 1, 0, m.Encode()), serve(t, other, 11, 0, other.Encode())
	claims := stranger
	claims.Cluster = m.ID()
	liar := serve(t, m, 1, 1, other.Encode())
	// The time ends once all is heard and asked.
	for name, test := range map[string]struct {
		want  crypto.Digest
		heard []Announcement
		err   error
	}{
		"nobody":   {m.ID(), nil, ErrNotFound},
		"stranger": {m.ID(), []Announcement{stranger}, ErrStranger},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		if _, err := find(ctx, test.want, test.heard...); !errors.Is(err, test.err) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %v", name, err, test.err)
		}
		cancel()
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := find(ctx, crypto.Digest{}, genuine, stranger); !errors.Is(err, ErrAmbiguous) {
		t.Errorf("several: %v", err)
	}
	if found, err := find(ctx, crypto.Digest{}, genuine); err != nil || found.Manifest.ID() != m.ID() {
		t.Errorf("the only one: %v", err)
	}
	if _, err := fetch(ctx, claims, key(99)); !errors.Is(err, transport.ErrWrongIdentity) && !errors.Is(err, transport.ErrWrongCluster) {
		t.Errorf("who claims to be another cluster: %v", err)
	}
	if _, err := fetch(ctx, liar, key(99)); err == nil || !strings.Contains(err.Error(), "hands out the manifest of cluster") {
		t.Errorf("another manifest than announced: %v", err)
	}
}

// Strangers that announce the id of the cluster, and are not of it, do not keep its replicas out, however many they are and whether
// they answer or not.
func TestACrowdHidesNobody(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m, other := manifestOf(1), manifestOf(11)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	liar := serve(t, m, 1, 1, other.Encode())
	var heard []Announcement
	for i := range 3 * maxHeard {
		a := Announcement{Name: "acme", Cluster: m.ID(), Key: key(byte(20 + i)).Public(), Member: "x", Addresses: []string{silent.Addr().String()}}
		switch i % 3 {
		case 1:
			a.Addresses[0] = "127.0.0.1:9"
		case 2:
			a = liar
			a.Addresses = append([]string{fmt.Sprintf("127.0.0.1:%d", 1+i)}, liar.Addresses...)
		}
		heard = append(heard, a)
	}
	found, err := find(ctx, m.ID(), append(heard, serve(t, m, 1, 0, m.Encode()))...)
	if err != nil || found.Manifest.ID() != m.ID() {
		t.Fatalf("%+v, %v", found, err)
	}
	// While all who are asked keep silent, too.
	f := newFinder("acme", m.ID(), nil, key(99))
	for _, a := range heard {
		a.Addresses = []string{silent.Addr().String()}
		f.hear(a)
	}
	got, failed := make(chan *config.Manifest, 1), make(chan error, 1)
	go func() {
		m, err := f.run(ctx)
		got <- m
		failed <- err
	}()
	for accepted := 0; accepted < maxHeard/2; accepted++ {
		if c, err := silent.Accept(); err != nil {
			t.Fatal(err)
		} else {
			defer c.Close()
		}
	}
	f.hear(serve(t, m, 1, 2, m.Encode()))
	if m2, err := <-got, <-failed; err != nil || m2.ID() != m.ID() {
		t.Fatal(err)
	}
}

// Who knows the members of the cluster listens to nobody else.
func TestMembersAloneTakeAPlace(t *testing.T) {
	m := manifestOf(1)
	f := newFinder("acme", m.ID(), m.Keys(), key(99))
	genuine := Announcement{Name: "acme", Cluster: m.ID(), Key: key(1).Public(), Member: "r0", Addresses: []string{"127.0.0.1:1"}}
	f.hear(genuine)
	for i := range 2 * maxHeard {
		stranger := genuine
		stranger.Key = key(byte(20 + i)).Public()
		f.hear(stranger)
		stranger.Cluster[0] = byte(i)
		f.hear(stranger)
	}
	if asked := f.toAsk(); len(asked) != 1 || asked[0].Key != genuine.Key || len(f.ids) != maxHeard {
		t.Errorf("%d are asked, %d ids are known", len(asked), len(f.ids))
	}
}

// A replica that could not be reached is asked again when it is heard again.
func TestWhoFailedIsAskedAgain(t *testing.T) {
	m := manifestOf(1)
	f := newFinder("acme", m.ID(), nil, key(99))
	stranger := serve(t, manifestOf(11), 11, 0, nil)
	stranger.Cluster = m.ID()
	f.hear(stranger)
	p := f.toAsk()[0]
	if f.hear(stranger); len(f.toAsk()) != 0 {
		t.Error("it is asked twice at the same time")
	}
	f.ask(t.Context(), p)
	if f.hear(stranger); len(f.toAsk()) != 1 || len(f.heard) != 1 {
		t.Error("it is not asked again")
	}
}

// What strangers announce is bounded, and a replica can announce many addresses.
func TestAnnouncementsAreBounded(t *testing.T) {
	m := manifestOf(1)
	f := newFinder("acme", m.ID(), nil, key(99))
	for i := range 10 * maxHeard {
		a := Announcement{Name: "acme", Cluster: m.ID(), Key: key(1).Public(), Member: "r0"}
		for k := range maxAddresses {
			a.Addresses = append(a.Addresses, fmt.Sprintf("10.0.%d.%d:7000", i%256, k))
		}
		f.hear(a)
	}
	if len(f.heard) != maxHeard {
		t.Errorf("%d are kept", len(f.heard))
	}
	if got := f.complete(m).Manifest.Members[0].Addresses; len(got) != 1+maxAddresses {
		t.Errorf("addresses: %v", got)
	}
}

func TestAnnouncementText(t *testing.T) {
	a := Announcement{Name: "acme", Cluster: manifestOf(1).ID(), Key: key(1).Public(), Member: "r0", Addresses: []string{"a.example.org:7000", "[::1]:7000"}}
	text, err := a.encode()
	if err != nil {
		t.Fatal(err)
	}
	back, ok := decode(append(text, "later=unknown"))
	if !ok || back.Name != a.Name || back.Cluster != a.Cluster || back.Key != a.Key || back.Member != a.Member || !slices.Equal(back.Addresses, a.Addresses) {
		t.Errorf("%+v, %v", back, ok)
	}
	for i := range text {
		if _, ok := decode(slices.Delete(slices.Clone(text), i, i+1)); ok != (i >= 5) {
			t.Errorf("without %s: %v", text[i], ok)
		}
	}
	for _, bad := range []string{"name=a\x1b[2Jb", "name=", "cluster=zz", "key=00", "addr=nowhere", "baluarte=9"} {
		if _, ok := decode(append(slices.Clone(text), bad)); ok {
			t.Errorf("%q is taken", bad)
		}
	}
	for _, bad := range []Announcement{{}, {Name: "a", Member: "b", Cluster: a.Cluster}, {Name: strings.Repeat("x", 300), Member: "b", Cluster: a.Cluster, Addresses: a.Addresses}} {
		if _, err := bad.encode(); err == nil {
			t.Errorf("%+v is announced", bad)
		}
	}
}

// FuzzAnnouncement: whatever is heard does no harm, and what is taken can be announced again.
func FuzzAnnouncement(f *testing.F) {
	f.Add("baluarte=1\nname=acme\nmember=r0\ncluster=" + strings.Repeat("ab", 32) + "\nkey=" + key(1).Public().String() + "\naddr=h:1")
	f.Fuzz(func(t *testing.T, s string) {
		a, ok := decode(strings.Split(s, "\n"))
		if !ok {
			return
		}
		if text, err := a.encode(); err == nil {
			if back, ok := decode(text); !ok || back.Name != a.Name || back.Cluster != a.Cluster || back.Key != a.Key {
				t.Fatalf("%+v became %+v", a, back)
			}
		}
	})
}
