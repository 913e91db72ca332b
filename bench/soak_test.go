package bench

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// trackOf reads a function each second, for that many seconds.
func trackOf(seconds int, f func(at float64) float64) *Track {
	var t tracker
	for at := range seconds {
		t.add(float64(at), f(float64(at)))
	}
	return t.end()
}

// However long it takes, a track has a bounded number of samples, evenly spaced but for the last, with the
// ends and the highest of all readings.
func TestTrackIsThinned(t *testing.T) {
	for _, seconds := range []int{1, 2, 1023, 1024, 1025, 1800, 4099, 86400} {
		peak := float64(seconds / 3)
		k := trackOf(seconds, func(at float64) float64 {
			if at == peak {
				return 1e6
			}
			return at
		})
		if n := len(k.Samples); n == 0 || n > maxTrack+1 || n != len(k.AtSeconds) || n < min(seconds, maxTrack/2) {
			t.Errorf("%d samples at %d times of %d readings, want at most %d", len(k.Samples), len(k.AtSeconds), seconds, maxTrack+1)
		}
		for i := 2; i < len(k.AtSeconds)-1; i++ {
			if k.AtSeconds[i]-k.AtSeconds[i-1] != k.AtSeconds[1]-k.AtSeconds[0] {
				t.Errorf("of %d readings those at %v and %v follow each other, want even spacing", seconds, k.AtSeconds[i-1], k.AtSeconds[i])
				break
			}
		}
		last := float64(seconds - 1)
		if peak != last && k.Last != last || k.AtSeconds[len(k.AtSeconds)-1] != last || k.AtSeconds[0] != 0 || k.Highest != 1e6 {
			t.Errorf("of %d readings: first at %v, last %v at %v, highest %v, want 0, %v and 1e6", seconds, k.AtSeconds[0], k.Last, k.AtSeconds[len(k.AtSeconds)-1], k.Highest, last)
		}
	}
}

// The slope is of the second half alone: what a process takes at its start is no leak.
func TestTrackSlope(t *testing.T) {
	for name, c := range map[string]struct {
		f    func(at float64) float64
		want float64 // a minute
	}{
		"flat":              {func(float64) float64 { return 100 }, 0},
		"grows":             {func(at float64) float64 { return 50 + at/60 }, 1},
		"shrinks":           {func(at float64) float64 { return 900 - at/6 }, -10},
		"flat after start":  {func(at float64) float64 { return min(at, 800) }, 0},
		"saw tooth is flat": {func(at float64) float64 { return math.Mod(at, 10) }, 0},
	} {
		k := trackOf(1800, c.f)
		if k.PerMinute == nil || math.Abs(*k.PerMinute-c.want) > 0.02 {
			t.Errorf("%s: the slope is %v, want %v", name, k.PerMinute, c.want)
		}
	}
	if k := trackOf(59, func(at float64) float64 { return at }); k.PerMinute != nil {
		t.Errorf("half a minute has a slope of %v, want none: it is too short", *k.PerMinute)
	}
	if k := new(tracker).end(); k != nil {
		t.Errorf("no reading made the track %+v", k)
	}
}

// writeSynced writes a file that no file system makes smaller, and waits until it has its place on the disk.
func writeSynced(t *testing.T, path string, size int) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{}).Read(data)
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// The memory of this process and the files of a directory are read, once at least, and the reading can be stopped twice.
func TestUsageWatch(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "r0", "db"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeSynced(t, filepath.Join(dir, "r0", "db", "x"), 3<<20)
	w := watchUsage(dir, []replicaReport{{Name: "r0", PID: os.Getpid(), local: true}, {Name: "far"}, {Name: "r2", PID: os.Getpid(), local: true}})
	w.stop()
	all := w.stop()
	_, known := residentBytes(os.Getpid())
	if want := map[bool]int{true: 3, false: 1}[known]; len(all) != want {
		t.Fatalf("read %+v, want %d subjects", all, want)
	}
	var b strings.Builder
	if err := (&Result{Usage: all}).writeUsage(&b); err != nil {
		t.Fatal(err)
	}
	for i := range all {
		u := &all[i]
		if known && (u.ResidentMiB == nil || u.ResidentMiB.First <= 1 || u.ResidentMiB.Highest < u.ResidentMiB.Last) {
			t.Errorf("%s has %+v MiB of memory, want more than 1", u.Name, u.ResidentMiB)
		}
		if has := u.DiskMiB != nil; has != (u.Name == "r0") || has && u.DiskMiB.First < 2.9 {
			t.Errorf("%s has %+v MiB on disk, want 3 of r0 alone: the others have no directory", u.Name, u.DiskMiB)
		}
		if !strings.Contains(b.String(), "\n"+u.Name+" ") {
			t.Errorf("the table has no line of %s:\n%s", u.Name, &b)
		}
	}
	if u := (*usageWatch)(nil).stop(); u != nil {
		t.Errorf("nothing was watched, and read %v", u)
	}
}
