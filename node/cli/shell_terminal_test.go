package cli

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// mute is a terminal on which keys may be typed, and which answers no question.
type mute struct {
	keys  []string
	drawn strings.Builder
	waits []bool // of each question whether something was there to read, after how long it was waited for in vain
}

func (m *mute) Read(p []byte) (int, error) {
	if len(m.keys) == 0 {
		return 0, io.EOF
	}
	n := copy(p, m.keys[0])
	m.keys = m.keys[1:]
	return n, nil
}

func (m *mute) cursor() *cursor {
	return &cursor{in: m, out: &m.drawn, within: func(d time.Duration) bool {
		m.waits = append(m.waits, d > 0)
		return len(m.keys) > 0
	}}
}

func readOnce(t *testing.T, c *cursor) string {
	t.Helper()
	p := make([]byte, 64)
	n, err := c.Read(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(p[:n])
}

func ask(t *testing.T, c *cursor, drawn string) {
	t.Helper()
	if n, err := c.Write([]byte(drawn)); err != nil || n != len(drawn) {
		t.Fatal(n, err)
	}
}

// A terminal that does not say where its cursor is gets a prompt all the same, and is not asked again. What was typed
// meanwhile is kept.
func TestTerminalThatDoesNotAnswer(t *testing.T) {
	m := &mute{keys: []string{"kv g"}}
	c := m.cursor()
	ask(t, c, " \b\x1b[6n")
	for _, want := range []string{"kv g", string(atTheEdge)} {
		if got := readOnce(t, c); got != want {
			t.Errorf("read %q, want %q", got, want)
		}
	}
	m.keys = []string{"et a\r"}
	if got := readOnce(t, c); got != "et a\r" {
		t.Errorf("read %q", got)
	}
	ask(t, c, "> \x1b[6n")
	if got := readOnce(t, c); got != string(atTheEdge) {
		t.Errorf("the second question was answered %q", got)
	}
	if got := m.drawn.String(); got != " \b\x1b[6n> " {
		t.Errorf("it was asked again: %q", got)
	}
	if len(m.waits) != 3 || !m.waits[0] || m.waits[2] {
		t.Errorf("waited: %v", m.waits)
	}
}

// One that answers is asked before every prompt, and no answer is added.
func TestTerminalThatAnswers(t *testing.T) {
	m := &mute{}
	c := m.cursor()
	for range 3 {
		ask(t, c, "\x1b[6n")
		m.keys = []string{"x", "\x1b[12;1R", "y"}
		for _, want := range []string{"x", "\x1b[12;1R", "y"} {
			if got := readOnce(t, c); got != want {
				t.Errorf("read %q, want %q", got, want)
			}
		}
	}
	if n := strings.Count(m.drawn.String(), "\x1b[6n"); n != 3 || c.asked || c.silent {
		t.Errorf("asked %d times, %v, %v", n, c.asked, c.silent)
	}
	for keys, want := range map[string]bool{"\x1b[1;1R": true, "ab\x1b[40;120Rc": true, "\x1b[A": false, "R": false, "": false, "\x1b[1;": false} {
		if isPlace([]byte(keys)) != want {
			t.Errorf("%q: %v", keys, !want)
		}
	}
}

// Lines of a terminal that can only print: an interrupt gives up a line, and the next is read in its place.
func TestPlainLines(t *testing.T) {
	in, keys := io.Pipe()
	var drawn strings.Builder
	interrupts := make(chan os.Signal)
	l := newPlainLines("> ", in, &drawn, interrupts)
	go func() {
		interrupts <- os.Interrupt
		_, _ = io.WriteString(keys, "kv get a\nlast") // ends with the test
		keys.Close()
	}()
	if _, err := l.line(); !errors.Is(err, errInterrupted) {
		t.Errorf("interrupted: %v", err)
	}
	for _, want := range []string{"kv get a\n", "last"} {
		if got, err := l.line(); err != nil || got != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	if _, err := l.line(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	if drawn.String() != "> \n> > > " {
		t.Errorf("drawn: %q", drawn.String())
	}
	open, typing := io.Pipe()
	defer typing.Close()
	l = newPlainLines("> ", open, io.Discard, interrupts)
	if err := errors.Join(l.close(), l.close()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.line(); err != io.EOF {
		t.Errorf("closed: %v", err)
	}
}
