package cli

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// cursorTime is how long a terminal may take to tell where its cursor is, which the line editor asks before each
// prompt: one that takes longer is not asked again.
const cursorTime = time.Second

// whereIs is that question, and atTheEdge the answer for a terminal that gives none: a prompt begins there.
var whereIs, atTheEdge = []byte("\x1b[6n"), []byte("\x1b[1;1R")

// cursor stands between the line editor, which waits for an answer for ever, and a terminal that may give none. The
// editor asks, reads, and is answered, one after the other.
type cursor struct {
	in     io.Reader
	out    io.Writer
	within func(time.Duration) bool // whether there is something to read within a time

	mu     sync.Mutex
	asked  bool
	until  time.Time // when the answer must have come
	silent bool      // the terminal did not answer
}

// Write draws, and notes a question for the place of the cursor.
func (c *cursor) Write(p []byte) (int, error) {
	if !bytes.Contains(p, whereIs) {
		return c.out.Write(p)
	}
	c.mu.Lock()
	c.asked, c.until = true, time.Now().Add(cursorTime)
	silent := c.silent
	c.mu.Unlock()
	drawn := p
	if silent {
		drawn = bytes.ReplaceAll(p, whereIs, nil)
	}
	if _, err := c.out.Write(drawn); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Read reads what is typed, or answers for a terminal that does not.
func (c *cursor) Read(p []byte) (int, error) {
	c.mu.Lock()
	asked, wait := c.asked, time.Until(c.until)
	if c.silent {
		wait = 0
	}
	c.mu.Unlock()
	if asked && !c.within(max(wait, 0)) {
		c.mu.Lock()
		c.asked, c.silent = false, true
		c.mu.Unlock()
		return copy(p, atTheEdge), nil
	}
	n, err := c.in.Read(p)
	if asked && isPlace(p[:n]) {
		c.mu.Lock()
		c.asked = false
		c.mu.Unlock()
	}
	return n, err
}

// readable waits until a terminal has something to read, or the time is over. A failure is told by the reading.
func readable(f *os.File, within time.Duration) bool {
	for deadline := time.Now().Add(within); ; {
		left := max(time.Until(deadline), 0)
		fds := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int((left+time.Millisecond-1)/time.Millisecond))
		switch {
		case err == unix.EINTR && left > 0: // a signal
		case err != nil:
			return true
		default:
			return n > 0
		}
	}
}

// isPlace tells whether what was read has the place of the cursor in it, such as ESC [ 12 ; 1 R. One that comes in two
// parts may be overlooked: then there is a second one, and the editor takes no notice of it.
func isPlace(p []byte) bool {
	_, p, found := bytes.Cut(p, []byte("\x1b["))
	return found && bytes.HasPrefix(bytes.TrimLeft(p, "0123456789;"), []byte("R"))
}

// plainLines are the lines typed on a terminal that can do nothing but print: no editing, no history.
type plainLines struct {
	prompt     string
	out        io.Writer
	in         *bufio.Reader
	interrupts <-chan os.Signal
	reading    chan typedLine // what the goroutine that reads will send; nil if none does
	closed     chan struct{}
	once       sync.Once
}

type typedLine struct {
	text string
	err  error
}

func newPlainLines(prompt string, in io.Reader, out io.Writer, interrupts <-chan os.Signal) *plainLines {
	return &plainLines{prompt: prompt, in: bufio.NewReader(in), out: out, interrupts: interrupts, closed: make(chan struct{})}
}

func (l *plainLines) line() (string, error) {
	if _, err := io.WriteString(l.out, l.prompt); err != nil {
		return "", err
	}
	if l.reading == nil { // an interrupt ends a line, and not the reading
		reading := make(chan typedLine, 1)
		go func() {
			text, err := l.in.ReadString('\n')
			if text != "" && err == io.EOF { // the last line may lack its end
				err = nil
			}
			reading <- typedLine{text, err}
		}()
		l.reading = reading
	}
	select {
	case t := <-l.reading:
		l.reading = nil
		return t.text, t.err
	case <-l.interrupts:
		_, err := io.WriteString(l.out, "\n")
		if err == nil {
			err = errInterrupted
		}
		return "", err
	case <-l.closed:
		return "", io.EOF
	}
}

func (l *plainLines) close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}
