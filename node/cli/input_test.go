package cli

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

// A command that waits for its input ends when it is interrupted, and what comes before that is read whole.
func TestInputCanBeInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	text, err := io.ReadAll((&Program{ctx: ctx, stdin: strings.NewReader("some text")}).input())
	if err != nil || string(text) != "some text" {
		t.Errorf("read %q, %v", text, err)
	}
	silent, w := io.Pipe()
	defer w.Close()
	cancel()
	if _, err := (&Program{ctx: ctx, stdin: silent}).input().Read(make([]byte, 1)); !errors.Is(err, errInterrupted) {
		t.Errorf("interrupted: %v", err)
	}
}
