package files_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/apptest"
	"github.com/baluarte-bft/baluarte/node/app/files"
	"github.com/baluarte-bft/baluarte/node/app/memstore"
)

// small limits are reached by tests.
func small() files.Limits {
	return files.Limits{
		Chunk: 4, File: 40, ClientFiles: 4, ClientBytes: 60, Files: 6, Bytes: 100, ClientUploads: 2, Uploads: 3,
		UploadTime: 20 * time.Millisecond, Versions: 3, OldBytes: 50, Requests: 20,
	}
}

// content has n bytes of which many chunks are equal.
func content(n, variant int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + (i/4*variant)%3)
	}
	return b
}

// parts are the chunks of a content with small limits.
func parts(c []byte) [][]byte { return slices.Collect(slices.Chunk(c, 4)) }

func digest(c []byte) bft.Digest {
	var list []bft.Digest
	for _, p := range parts(c) {
		list = append(list, files.ChunkDigest(p))
	}
	return files.Digest(uint64(len(c)), list)
}

// draw makes an operation that clients with few names and uploads get in each other's way with.
func draw(r *rand.Rand) []byte {
	name, mode := fmt.Sprintf("dir/%c", 'a'+r.IntN(3)), files.Mode(r.IntN(2))
	c, upload := content(1+r.IntN(4)*4, 1+r.IntN(2)), uint64(1+r.IntN(12))
	switch r.IntN(9) {
	case 0:
		return files.Delete(name)
	case 1, 2:
		return files.Begin(mode, name, uint64(len(c)))
	case 3, 4:
		at := r.IntN(len(parts(c)))
		return files.Stage(upload, at, parts(c)[at])
	case 5:
		return files.Commit(upload, digest(c))
	case 6:
		return files.Abort(upload)
	}
	return files.Put(mode, name, c[:min(len(c), 4)])
}

// ask makes a query.
func ask(r *rand.Rand) []byte {
	name := fmt.Sprintf("dir/%c", 'a'+r.IntN(3))
	switch r.IntN(6) {
	case 0:
		return files.File(name, uint64(r.IntN(3)))
	case 1:
		return files.Chunk(files.ChunkDigest(content(4, 1)))
	case 2:
		return files.List(name, r.IntN(3))
	case 3:
		return files.Versions(name)
	case 4:
		return files.History(uint64(r.IntN(20)), r.IntN(5), name)
	}
	return files.UsageOf(bft.ClientID{})
}

func TestFilesKeepsThePromisesOfAService(t *testing.T) {
	whole := func(n uint64, c []byte) (ops [][]byte) {
		for i, p := range parts(c) {
			ops = append(ops, files.Stage(n, i, p))
		}
		return append(ops, files.Commit(n, digest(c)))
	}
	ops := [][]byte{files.Begin(files.Create, "a", 10), files.Begin(files.Create, "b", 6)} // of two clients
	for _, op := range whole(1, content(10, 1)) {
		ops = append(ops, op, op) // of both, of whom one owns it
	}
	ops = append(ops, apptest.Generate(1, 500, draw)...)
	apptest.Check(t, files.Factory(small()), ops, apptest.Queries(apptest.Generate(2, 20, ask)...))
	apptest.Check(t, files.New, ops[:100])
}

// rig is a service with a clock.
type rig struct {
	t   rapid.TB
	m   app.StateMachine
	now bft.Time
}

func newRig(t rapid.TB, limits files.Limits) *rig {
	m, err := files.Factory(limits)(memstore.New())
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t, m, bft.Second}
}

// do has a client invoke an operation. One that fails must leave the state as it was.
func (r *rig) do(client byte, op []byte) []byte {
	ctx := exec.NewContext(1, r.now, bft.Digest{}, 0)
	ctx.Client[0] = client
	// What expires does so whatever the operation, so let that happen before.
	r.m.Apply(ctx, files.Abort(1<<40))
	before := r.snapshot()
	result := r.m.Apply(ctx, op)
	if result[0] != 0 && !bytes.Equal(before, r.snapshot()) {
		r.t.Fatalf("%q failed with %q and changed the state", op, result)
	}
	if err := files.Audit(r.m); err != nil {
		r.t.Fatalf("after %q: %v", op, err)
	}
	return result
}

func (r *rig) snapshot() []byte {
	s, err := r.m.Snapshot()
	if err != nil {
		r.t.Fatal(err)
	}
	defer s.Close()
	var b bytes.Buffer
	if _, err := s.WriteTo(&b); err != nil {
		r.t.Fatal(err)
	}
	return b.Bytes()
}

func (r *rig) query(q []byte) []byte {
	result, err := r.m.Query(context.Background(), q)
	if err != nil {
		r.t.Fatal(err)
	}
	return result
}

// read puts a version together from its chunks.
func (r *rig) read(name string, version uint64) ([]byte, error) {
	info, chunks, err := files.DecodeFile(r.query(files.File(name, version)))
	if err != nil {
		return nil, err
	}
	all := []byte{}
	for _, d := range chunks {
		c, err := files.DecodeChunk(r.query(files.Chunk(d)), d)
		if err != nil {
			r.t.Fatalf("a chunk of %+v: %v", info, err)
		}
		all = append(all, c...)
	}
	if digest(all) != info.Digest || uint64(len(all)) != info.Size {
		r.t.Fatalf("%+v does not describe %q", info, all)
	}
	return all, nil
}

// begin begins an upload and stages all parts but those of leave.
func (r *rig) begin(client byte, mode files.Mode, name string, c []byte, leave ...int) (uint64, error) {
	s, err := files.DecodeStarted(r.do(client, files.Begin(mode, name, uint64(len(c)))))
	if err != nil {
		return 0, err
	}
	for i, p := range parts(c) {
		if slices.Contains(leave, i) {
			continue
		}
		if err := files.DecodeDone(r.do(client, files.Stage(s.Upload, i, p))); err != nil {
			r.t.Fatalf("part %d: %v", i, err)
		}
	}
	return s.Upload, nil
}

func (r *rig) want(name string, version uint64, c []byte) {
	if got, err := r.read(name, version); err != nil || !bytes.Equal(got, c) {
		r.t.Fatalf("version %d of %s is %q (%v), want %q", version, name, got, err, c)
	}
}

func (r *rig) wantErr(err, want error) {
	if !errors.Is(err, want) {
		r.t.Fatalf("got %v, want %v", err, want)
	}
}

func request(result []byte) error {
	_, err := files.DecodeRequest(result)
	return err
}

func TestAnUploadIsVisibleAsAWholeOrNotAtAll(t *testing.T) {
	r := newRig(t, small())
	old, next := content(10, 1), content(19, 2)
	id, err := r.begin(1, files.Create, "f", old)
	r.wantErr(err, nil)
	_, err = r.read("f", 0)
	r.wantErr(err, files.ErrNotFound)
	r.wantErr(request(r.do(1, files.Commit(id, digest(old)))), nil)
	r.want("f", 0, old)
	r.wantErr(request(r.do(1, files.Commit(id, digest(old)))), files.ErrNotFound) // it has ended

	id, err = r.begin(1, files.Update, "f", next, 2)
	r.wantErr(err, nil)
	r.wantErr(request(r.do(1, files.Commit(id, digest(next)))), files.ErrBadPart) // one is missing
	r.wantErr(files.DecodeDone(r.do(1, files.Stage(id, 2, []byte("abc")))), files.ErrBadPart)
	r.wantErr(files.DecodeDone(r.do(1, files.Stage(id, 5, []byte("abcd")))), files.ErrBadPart)
	r.wantErr(files.DecodeDone(r.do(1, files.Stage(id, 1, parts(next)[1]))), files.ErrBadPart) // twice
	r.wantErr(files.DecodeDone(r.do(2, files.Stage(id, 2, parts(next)[2]))), files.ErrNotFound)
	r.wantErr(files.DecodeDone(r.do(2, files.Abort(id))), files.ErrNotFound)
	r.wantErr(files.DecodeDone(r.do(1, files.Stage(id, 2, []byte("wxyz")))), nil)
	r.wantErr(request(r.do(1, files.Commit(id, digest(next)))), files.ErrBadPart) // another content
	r.want("f", 0, old)
	r.wantErr(files.DecodeDone(r.do(1, files.Abort(id))), nil)

	id, err = r.begin(2, files.Update, "f", next)
	r.wantErr(err, nil)
	r.wantErr(request(r.do(1, files.Delete("f"))), nil)
	r.wantErr(request(r.do(2, files.Commit(id, digest(next)))), files.ErrNotFound) // it went meanwhile
	r.wantErr(request(r.do(1, files.Put(files.Create, "f", nil))), nil)
	r.wantErr(request(r.do(2, files.Commit(id, digest(next)))), nil)
	r.want("f", 0, next)
	r.want("f", 1, nil)
}

func TestAbortedAndExpiredUploadsLeaveNothing(t *testing.T) {
	r := newRig(t, small())
	r.wantErr(request(r.do(1, files.Put(files.Create, "f", []byte("aaaa")))), nil)
	used := func() files.Quota {
		q, err := files.DecodeUsage(r.query(files.UsageOf(bft.ClientID{1})))
		r.wantErr(err, nil)
		return q
	}
	before := used()
	c := content(12, 1) // its first chunk is that of f
	for _, leave := range [][]int{{}, {1}, {0, 1, 2}} {
		id, err := r.begin(1, files.Update, "f", c, leave...)
		r.wantErr(err, nil)
		if q := used(); q.Client.Bytes != before.Client.Bytes+12 || q.All.Uploads != 1 {
			t.Fatalf("during an upload: %+v", q)
		}
		r.wantErr(files.DecodeDone(r.do(1, files.Abort(id))), nil)
		if q := used(); q != before {
			t.Fatalf("after an abort: %+v, before %+v", q, before)
		}
		id, err = r.begin(1, files.Update, "f", c, leave...)
		r.wantErr(err, nil)
		r.now += bft.Time(small().UploadTime) // not yet
		if len(leave) == 1 {
			r.wantErr(files.DecodeDone(r.do(1, files.Stage(id, 1, parts(c)[1]))), nil) // it lives on
			r.now += bft.Time(small().UploadTime)
		}
		r.wantErr(files.DecodeDone(r.do(1, files.Stage(id, 9, nil))), files.ErrBadPart)
		r.now++
		r.wantErr(files.DecodeDone(r.do(1, files.Abort(id))), files.ErrNotFound)
		if q := used(); q != before {
			t.Fatalf("after the time: %+v, before %+v", q, before)
		}
	}
	r.want("f", 0, []byte("aaaa"))
}

func TestLimits(t *testing.T) {
	r := newRig(t, small())
	begin := func(client byte, mode files.Mode, name string, size uint64) error {
		_, err := files.DecodeStarted(r.do(client, files.Begin(mode, name, size)))
		return err
	}
	r.wantErr(begin(1, files.Create, "large", 41), files.ErrQuota)
	r.wantErr(begin(1, files.Create, "huge", 1<<62), files.ErrQuota)
	r.wantErr(request(r.do(1, files.Put(files.Create, "long", []byte("12345")))), files.ErrQuota)
	r.wantErr(begin(1, files.Create, "a", 40), nil)
	r.wantErr(begin(1, files.Create, "b", 21), files.ErrQuota) // of the client
	r.wantErr(begin(1, files.Create, "b", 20), nil)
	r.wantErr(begin(1, files.Create, "c", 0), files.ErrQuota) // uploads of the client
	r.wantErr(begin(2, files.Create, "c", 40), nil)
	r.wantErr(begin(2, files.Create, "d", 0), files.ErrQuota) // uploads in all
	r.wantErr(request(r.do(3, files.Put(files.Create, "d", []byte("1")))), files.ErrQuota)
	for i := range 3 {
		r.wantErr(request(r.do(3, files.Put(files.Create, string(rune('p'+i)), nil))), nil)
	}
	r.wantErr(request(r.do(4, files.Put(files.Create, "s", nil))), files.ErrQuota) // files in all
	r.now += bft.Time(time.Second)
	for i := range 4 {
		err := request(r.do(3, files.Put(files.Create, string(rune('s'+i)), nil)))
		r.wantErr(err, []error{nil, files.ErrQuota, files.ErrQuota, files.ErrQuota}[i])
	}
	if err := request(r.do(1, files.Put(files.Update, "p", []byte("1")))); err != nil {
		t.Errorf("another's file: %v", err) // and it is this client's then
	}
	r.wantErr(request(r.do(3, files.Put(files.Create, "t", nil))), nil)
	limits := small()
	limits.Chunk = files.ChunkSize + 1
	if _, err := files.Factory(limits)(memstore.New()); err == nil {
		t.Error("chunks that are too large")
	}
	if _, err := files.New(nil); err == nil {
		t.Error("no store")
	}
}

func TestVersionsAndHistoryAreBounded(t *testing.T) {
	r := newRig(t, small())
	r.wantErr(request(r.do(1, files.Put(files.Create, "f", []byte("1")))), nil)
	for i := 2; i <= 30; i++ {
		r.wantErr(request(r.do(1, files.Put(files.Update, "f", []byte{byte(i)}))), nil)
	}
	kept, err := files.DecodeVersions(r.query(files.Versions("f")))
	if err != nil || len(kept) != 3 || kept[0].Version != 28 || kept[2].Version != 30 {
		t.Fatalf("%+v, %v", kept, err)
	}
	r.want("f", 28, []byte{28})
	_, err = r.read("f", 27)
	r.wantErr(err, files.ErrNotFound)
	h, err := files.DecodeHistory(r.query(files.History(0, 8, "")))
	if err != nil || len(h.Requests) != 8 || !h.More || h.Requests[0].Number != 11 {
		t.Fatalf("%+v, %v", h, err)
	}
	h, err = files.DecodeHistory(r.query(files.History(h.Next, 0, "f")))
	if err != nil || len(h.Requests) != 12 || h.More || h.Requests[11].Number != 30 || h.Requests[11].Kind != files.Updated {
		t.Fatalf("%+v, %v", h, err)
	}
	// Old versions of all files have room for 50 bytes together: those replaced first go.
	for _, name := range []string{"g", "h"} {
		for range 3 {
			id, err := r.begin(2, files.Mode(min(1, version(r, name))), name, content(20, 1))
			r.wantErr(err, nil)
			r.wantErr(request(r.do(2, files.Commit(id, digest(content(20, 1))))), nil)
		}
	}
	for name, want := range map[string]int{"f": 1, "g": 1, "h": 3} {
		if kept, err := files.DecodeVersions(r.query(files.Versions(name))); err != nil || len(kept) != want {
			t.Errorf("%d versions of %s, want %d: %v", len(kept), name, want, err)
		}
	}
	r.wantErr(request(r.do(1, files.Delete("g"))), nil)
	_, err = files.DecodeVersions(r.query(files.Versions("g")))
	r.wantErr(err, files.ErrNotFound)
	h, err = files.DecodeHistory(r.query(files.History(0, 0, "g")))
	if err != nil || len(h.Requests) != 4 || h.Requests[3].Kind != files.Deleted || h.Requests[3].Kind.String() != "delete" {
		t.Fatalf("%+v, %v", h, err)
	}
}

func version(r *rig, name string) int {
	i, _, _ := files.DecodeFile(r.query(files.File(name, 0)))
	return int(i.Version)
}

// TestFilesBehaveLikeAMap compares with contents in a map, with uploads in between.
func TestFilesBehaveLikeAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, model := newRig(t, small()), map[string][]byte{}
		names := rapid.SampledFrom([]string{"a", "a/b", "a b", "é"})
		clients := rapid.SampledFrom([]byte{1, 2})
		t.Repeat(map[string]func(*rapid.T){
			"store": func(t *rapid.T) {
				name, mode := names.Draw(t, "name"), files.Mode(rapid.IntRange(0, 1).Draw(t, "mode"))
				c, client := content(rapid.IntRange(0, 24).Draw(t, "size"), rapid.IntRange(1, 2).Draw(t, "variant")), clients.Draw(t, "client")
				err := store(t, r, client, mode, name, c)
				switch _, there := model[name]; {
				case errors.Is(err, files.ErrQuota):
				case there != (mode == files.Update):
					want := files.ErrExists
					if !there {
						want = files.ErrNotFound
					}
					r.wantErr(err, want)
				default:
					r.wantErr(err, nil)
					model[name] = c
				}
			},
			"leave an upload": func(t *rapid.T) {
				_, err := r.begin(clients.Draw(t, "client"), files.Create, names.Draw(t, "name"), content(12, 1), rapid.IntRange(0, 3).Draw(t, "without"))
				if err != nil && !errors.Is(err, files.ErrQuota) && !errors.Is(err, files.ErrExists) {
					t.Fatal(err)
				}
			},
			"delete": func(t *rapid.T) {
				name := names.Draw(t, "name")
				err := request(r.do(clients.Draw(t, "client"), files.Delete(name)))
				if _, there := model[name]; there != (err == nil) {
					t.Fatalf("delete %q: %v", name, err)
				}
				delete(model, name)
			},
			"time passes": func(*rapid.T) { r.now += bft.Time(small().UploadTime) + 1 },
			"restore": func(t *rapid.T) {
				if err := r.m.Restore(bytes.NewReader(r.snapshot())); err != nil {
					t.Fatal(err)
				}
			},
			"": func(t *rapid.T) {
				list, _, err := files.DecodeList(r.query(files.List("", 0)))
				if err != nil || len(list) != len(model) {
					t.Fatalf("%d files, want %d: %v", len(list), len(model), err)
				}
				for _, i := range list {
					r.want(i.Name, 0, model[i.Name])
				}
			},
		})
	})
}

// store stores a content in one way or the other.
func store(t *rapid.T, r *rig, client byte, mode files.Mode, name string, c []byte) error {
	if len(c) <= 4 && rapid.Bool().Draw(t, "at once") {
		return request(r.do(client, files.Put(mode, name, c)))
	}
	id, err := r.begin(client, mode, name, c)
	if err != nil {
		return err
	}
	return request(r.do(client, files.Commit(id, digest(c))))
}

func TestTenThousandFilesAreListedInPages(t *testing.T) {
	m, err := files.New(memstore.New())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10_000 {
		if err := request(m.Apply(app.Context{}, files.Put(files.Create, fmt.Sprintf("d%d/%d", i%7, i), []byte{byte(i)}))); err != nil {
			t.Fatal(err)
		}
	}
	seen, pages, after := 0, 0, ""
	for more := true; more; pages++ {
		result, err := m.Query(context.Background(), files.List(after, 0))
		if err != nil {
			t.Fatal(err)
		}
		var page []files.Info
		if page, more, err = files.DecodeList(result); err != nil {
			t.Fatal(err)
		}
		for _, i := range page {
			if i.Name <= after || i.Size != 1 {
				t.Fatalf("%+v after %q", i, after)
			}
			after = i.Name
		}
		seen += len(page)
	}
	if seen != 10_000 || pages != 10 {
		t.Fatalf("%d files on %d pages", seen, pages)
	}
}

func TestNames(t *testing.T) {
	for _, good := range []string{"a", "a/b.c", "..a", "a..b/...", "relatório final.pdf", strings.Repeat("x", files.MaxName), "日本", "C:"} {
		if err := files.CheckName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "/", "/etc/passwd", "..", "../a", "a/..", "a/../b", ".", "a/./b", "a//b", "a/", `a\b`, `..\a`, "a\x00b", "a\nb", "a\x7f",
		"a\u202eb", "a\u200bb", "a\u00a0b", " a", "a /b", "a\xff", strings.Repeat("x", files.MaxName+1), "\ufeffa"} {
		if files.CheckName(bad) == nil {
			t.Errorf("%q is accepted", bad)
		}
		for _, op := range [][]byte{files.Put(files.Create, bad, nil), files.Begin(files.Update, bad, 1), files.Delete(bad)} {
			r := newRig(t, small())
			r.wantErr(request(r.do(1, op)), files.ErrBadOp)
			r.wantErr(r.m.(app.Validator).Validate(op), files.ErrBadOp)
		}
	}
}

func TestSnapshotsOfOtherLimitsAndDamagedOnesAreRefused(t *testing.T) {
	r := newRig(t, small())
	r.wantErr(request(r.do(1, files.Put(files.Create, "f", []byte("abcd")))), nil)
	if _, err := r.begin(1, files.Update, "f", content(9, 1), 1); err != nil {
		t.Fatal(err)
	}
	good, other := r.snapshot(), small()
	other.Requests++
	if newRig(t, other).m.Restore(bytes.NewReader(good)) == nil {
		t.Error("a snapshot with other limits")
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x40
		// Where a bit makes another good record, the digest of the whole snapshot tells; here nothing may panic.
		if m := newRig(t, small()).m; m.Restore(bytes.NewReader(bad)) == nil {
			m.Query(context.Background(), files.List("", 0))
		}
	}
}

func FuzzFiles(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 40 {
		f.Add(draw(r))
		f.Add(ask(r))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newRig(t, small())
		r.do(1, files.Begin(files.Create, "dir/a", 8))
		bad := errors.Is(files.DecodeDone(r.do(1, b)), files.ErrBadOp)
		if bad != (r.m.(app.Validator).Validate(b) != nil) {
			t.Errorf("%q: refused %v, but Validate says %v", b, bad, r.m.(app.Validator).Validate(b))
		}
		if err := r.m.Restore(bytes.NewReader(r.snapshot())); err != nil {
			t.Errorf("after %q the snapshot is refused: %v", b, err)
		}
		r.m.Query(context.Background(), b)
		files.DecodeRequest(b)
		files.DecodeStarted(b)
		files.DecodeFile(b)
		files.DecodeList(b)
		files.DecodeHistory(b)
		files.DecodeUsage(b)
		r.m.Restore(bytes.NewReader(b))
	})
}
