package bft_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/app/counter"
)

var rewrite = flag.Bool("rewrite", false, "write what the scripts of testdata now print into them")

// TestInteraction plays the scripts testdata/*.txt. A script is a list of blocks: comments, one or
// more commands, "----", and what they print, up to an empty line. The commands are the methods in
// storyCommands. Time stands still but for tick; status messages, which come with it, are delivered
// at once and not shown. What a replica sends again within one command is shown once.
//
// Run it with -rewrite after a change of behaviour, and read the difference.
func TestInteraction(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(f)
			must(t, err)
			got := playStory(t, string(text))
			if *rewrite {
				must(t, os.WriteFile(f, []byte(got), 0o644))
				return
			}
			if want := strings.Split(string(text), "\n"); got != string(text) {
				for i, line := range strings.Split(got, "\n") {
					if i >= len(want) || line != want[i] {
						t.Fatalf("%s:%d prints\n\t%s\n(-rewrite writes all of it into the file, to be compared)", f, i+1, line)
					}
				}
				t.Fatalf("%s: prints less than it did", f)
			}
		})
	}
}

type story struct {
	t       *testing.T
	c       *cluster
	out     strings.Builder
	indent  string
	cut     []func(letter) bool
	bundles map[string]*bft.Bundle
	backups map[int]disk
	shown   map[string]bool

	committed int
}

// playStory runs a script and gives it back with what it printed.
func playStory(t *testing.T, text string) string {
	s := &story{t: t, bundles: map[string]*bft.Bundle{}, backups: map[int]disk{}}
	var file strings.Builder
	skipping := false
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		switch {
		case skipping && line != "":
			continue
		case line == "----":
			file.WriteString("----\n")
			if s.out.Len() == 0 {
				s.out.WriteString("ok\n")
			}
			file.WriteString(s.out.String())
			s.out.Reset()
			skipping = true
			continue
		case line != "" && !strings.HasPrefix(line, "#"):
			s.run(line)
		}
		skipping = false
		file.WriteString(line + "\n")
	}
	return file.String()
}

var storyCommands = map[string]func(*story, []string){
	"cluster": (*story).cluster, "invoke": (*story).invoke, "deliver": (*story).deliver, "drop": (*story).drop,
	"settle": (*story).settle, "tick": (*story).tick, "crash": (*story).crash, "restart": (*story).restart,
	"status": (*story).status, "block": (*story).block, "unblock": (*story).unblock, "disk": (*story).disk,
	"backup": (*story).backup, "rollback": (*story).rollback, "liar": (*story).liar, "propose": (*story).propose,
	"vote": (*story).vote, "disagree": (*story).disagree, "read": (*story).read, "commit": (*story).commit,
}

func (s *story) run(line string) {
	words := strings.Fields(line)
	f := storyCommands[words[0]]
	if f == nil {
		s.t.Fatalf("no such command: %s", line)
	}
	s.shown = map[string]bool{}
	f(s, words[1:])
}

func (s *story) printf(format string, args ...any) {
	fmt.Fprintf(&s.out, s.indent+format+"\n", args...)
}

func (s *story) number(w string) int {
	k, err := strconv.Atoi(strings.TrimLeft(w, "#v"))
	if err != nil {
		s.t.Fatalf("%q is not a number", w)
	}
	return k
}

func (s *story) host(w string) *host { return s.c.hosts[s.number(w)] }

// option finds key=value among words.
func option(words []string, key string) (string, bool) {
	for _, w := range words {
		if v, ok := strings.CutPrefix(w, key+"="); ok {
			return v, true
		}
	}
	return "", false
}

// cluster n=N starts N replicas and has them hear of each other.
func (s *story) cluster(words []string) {
	n, _ := option(words, "n")
	s.c = started(s.t, s.number(n), func(cfg *bft.Config) {
		cfg.Interval, cfg.Window = 4, 8
	})
	s.c.onEvent = func(h *host, what string) {
		line := fmt.Sprintf("%d %s", h.id, what)
		if !strings.HasPrefix(what, "->") || !s.shown[line] {
			s.printf("%s", line)
		}
		s.shown[line] = true
	}
	s.c.dropWhen = func(l letter) bool {
		for _, f := range s.cut {
			if f(l) {
				return true
			}
		}
		return false
	}
	s.c.queue = nil
	s.committed = 0
}

// invoke NAME [to=0,1]: the client sends a bundle of one operation, to all replicas or to some.
func (s *story) invoke(words []string) {
	b := s.bundles[words[0]]
	if b == nil {
		b = s.c.bundle(counter.Add(1))
		s.bundles[words[0]] = b
		s.c.names.bundles[b.Digest] = words[0]
	}
	var to []int
	if v, ok := option(words, "to"); ok {
		for _, w := range strings.Split(v, ",") {
			to = append(to, s.number(w))
		}
	}
	s.c.give(b, to...)
	s.c.turnAll()
}

// commit K: so many bundles, c1, c2 and so on, are ordered and executed, and nothing is printed.
func (s *story) commit(words []string) {
	event := s.c.onEvent
	s.c.onEvent = func(*host, string) {}
	for i := s.number(words[0]); i > 0; i-- {
		b := s.c.bundle(counter.Add(1))
		s.committed++
		s.c.names.bundles[b.Digest] = fmt.Sprint("c", s.committed)
		s.c.give(b)
		s.c.settle()
		s.c.mustAnswer(b.First, 3*bft.Second)
	}
	s.c.onEvent = event
}

// selects reads "[A->B] [kind] [phase]", where A or B may be a star, as a choice of letters.
func (s *story) selects(words []string) func(letter) bool {
	return func(l letter) bool {
		for _, w := range words {
			from, to, link := strings.Cut(w, "->")
			switch {
			case link:
				if from != "*" && from != fmt.Sprint(l.from) || to != "*" && to != fmt.Sprint(l.to) {
					return false
				}
			case !strings.Contains(" "+s.c.names.frame(l.frame)+" ", " "+w+" "):
				return false
			}
		}
		return true
	}
}

func (s *story) take(words []string) (taken []letter) {
	chosen := s.selects(words)
	var rest []letter
	for _, l := range s.c.queue {
		if l.kind() != bft.TypeStatus && chosen(l) {
			taken = append(taken, l)
		} else {
			rest = append(rest, l)
		}
	}
	s.c.queue = rest
	if len(taken) == 0 {
		s.printf("no such message is under way")
	}
	return taken
}

// deliver hands over the chosen messages that are now under way.
func (s *story) deliver(words []string) {
	for _, l := range s.take(words) {
		s.printf("%d->%d %s", l.from, l.to, s.c.names.frame(l.frame))
		s.indent = "  "
		s.c.deliver(l)
		s.indent = ""
	}
}

func (s *story) drop(words []string) {
	for _, l := range s.take(words) {
		s.printf("lost: %d->%d %s", l.from, l.to, s.c.names.frame(l.frame))
	}
}

// settle delivers until nothing is under way.
func (s *story) settle([]string) { s.c.settle() }

// tick lets time pass. Nothing but status messages is delivered meanwhile, unless it says "settle".
func (s *story) tick(words []string) {
	d := bft.Time(s.number(strings.TrimSuffix(words[0], "ms"))) * bft.Millisecond
	all := len(words) > 1 && words[1] == "settle"
	for end := s.c.now + d; s.c.now < end; {
		s.c.tick()
		s.c.turnAll()
		for again := true; again; {
			again = false
			for i, l := range s.c.queue {
				if all || l.kind() == bft.TypeStatus {
					s.c.queue = append(append([]letter(nil), s.c.queue[:i]...), s.c.queue[i+1:]...)
					s.c.deliver(l)
					again = true
					break
				}
			}
		}
	}
}

func (s *story) crash(words []string) {
	for _, w := range words {
		h := s.host(w)
		s.printf("%s loses %d records that were not durable", w, len(h.unsynced))
		h.crash()
	}
}

func (s *story) restart(words []string) {
	for _, w := range words {
		h := s.host(w)
		h.slowDisk = false
		h.start()
		i := h.info()
		s.printf("%s starts: view %d changing %v stable %d executed %d", w, i.View, i.Changing, i.Stable, i.Executed)
	}
	s.c.turnAll()
}

func (s *story) status([]string) {
	for _, h := range s.c.hosts {
		i, more := h.info(), ""
		switch {
		case h.down && s.c.liars[h.id]:
			s.printf("%d: in the hands of the adversary", h.id)
			continue
		case h.down:
			s.printf("%d: down", h.id)
			continue
		case i.Starting:
			more += " starting"
		case i.Changing:
			more += " changing"
		case i.Primary == h.id:
			more += " primary"
		}
		if i.Amnesiac != "" {
			more += "\n   amnesiac: " + i.Amnesiac
		}
		if i.Diverged != "" {
			more += "\n   diverged: " + i.Diverged
		}
		s.printf("%d: view %d stable %d executed %d%s", h.id, i.View, i.Stable, i.Executed, more)
	}
}

// block [A->B] [kind]: from now on such messages are lost.
func (s *story) block(words []string) { s.cut = append(s.cut, s.selects(words)) }
func (s *story) unblock([]string)     { s.cut = nil }

// disk ID slow: records wait. disk ID sync: they are durable now, and the disk is fast again.
func (s *story) disk(words []string) {
	h := s.host(words[0])
	h.slowDisk = words[1] == "slow"
	if !h.slowDisk {
		s.printf("%d makes %d records durable", h.id, len(h.unsynced))
		h.sync(len(h.unsynced))
		h.turn()
	}
}

func (s *story) backup(words []string)   { s.backups[s.number(words[0])] = s.host(words[0]).backup() }
func (s *story) rollback(words []string) { s.host(words[0]).rollback(s.backups[s.number(words[0])]) }

// liar ID: from now on the member says only what the script makes it say.
func (s *story) liar(words []string) {
	h := s.host(words[0])
	h.down = true
	s.c.liars[h.id] = true
}

// propose FROM->TO vV #SEQ NAME: a liar sends a pre-prepare.
func (s *story) propose(words []string) {
	from, to, _ := strings.Cut(words[0], "->")
	b := s.bundles[words[3]]
	s.forged(from, to, s.c.prePrepare(s.number(from), bft.View(s.number(words[1])), bft.Seq(s.number(words[2])), b))
}

// vote FROM->TO prepare|commit vV #SEQ NAME: a liar votes for the proposal of a bundle at this time.
func (s *story) vote(words []string) {
	from, to, _ := strings.Cut(words[0], "->")
	p, seq := proposal(s.c.now, s.bundles[words[4]]), bft.Seq(s.number(words[3]))
	x := prepare(seq, p)
	if words[1] == "commit" {
		x = commit(seq, p)
	}
	s.forged(from, to, s.c.framed(s.c.votes(s.number(from), bft.View(s.number(words[2])), x)))
}

func (s *story) forged(from, to string, frame []byte) {
	l := letter{bft.ReplicaID(s.number(from)), bft.ReplicaID(s.number(to)), frame}
	s.printf("%s->%s %s", from, to, s.c.names.frame(frame))
	s.indent = "  "
	if err := s.c.hand(l); err != nil {
		kind := "refused"
		if errors.Is(err, bft.ErrInvalid) {
			kind = "accused"
		}
		s.printf("%s: %v", kind, err)
	}
	s.indent = ""
}

// disagree ID: the service of this replica goes wrong: its states differ from now on.
func (s *story) disagree(words []string) {
	h := s.host(words[0])
	h.corrupt = func(x *bft.Snapshot) { x.State = crypto.Hash("wrong", []byte{byte(h.id), byte(x.Seq)}) }
	if len(words) > 1 && words[1] == "no-more" {
		h.corrupt = nil
	}
}

// read ID: a linearizable read arrives at a replica.
func (s *story) read(words []string) {
	if err := s.host(words[0]).replica.Read(bft.ReadID(s.number(words[1]))); err != nil {
		s.printf("%s refuses: %v", words[0], err)
	}
	s.c.turnAll()
}

// event tells the story what a replica did.
func (h *host) event(format string, args ...any) {
	if h.c.onEvent != nil {
		h.c.onEvent(h, fmt.Sprintf(format, args...))
	}
}

// noteChanges tells what became of a replica's own view of itself.
func (h *host) noteChanges() {
	a, b := h.before, h.info()
	h.before = b
	if h.c.onEvent == nil {
		return
	}
	switch {
	case b.Changing && (!a.Changing || a.View != b.View):
		h.event("leaves view %d for view %d", a.View, b.View)
	case !b.Changing && (a.Changing || a.View != b.View):
		h.event("enters view %d", b.View)
	}
	if a.Starting && !b.Starting {
		h.event("has heard what a quorum holds of it")
	}
	if a.Stable != b.Stable {
		h.event("has stable checkpoint %d", b.Stable)
	}
	if a.Amnesiac != b.Amnesiac {
		h.event("is amnesiac: %s", b.Amnesiac)
	}
	if a.Diverged != b.Diverged {
		if b.Diverged == "" {
			h.event("agrees again")
		} else {
			h.event("has diverged: %s", b.Diverged)
		}
	}
}
