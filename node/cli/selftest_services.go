package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"github.com/baluarte-bft/baluarte/node/app/calc"
	"github.com/baluarte-bft/baluarte/node/app/counter"
	"github.com/baluarte-bft/baluarte/node/app/echo"
	"github.com/baluarte-bft/baluarte/node/app/files"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/node/client"
)

// Each test leaves something behind in its round, and looks for what those before it left.

func selfTestKV(ctx context.Context, s *Session, round int) (string, error) {
	value := func(r int) []byte { return fmt.Appendf(nil, "value of round %d", r) }
	key := func(r int) []byte { return fmt.Appendf(nil, "selftest/%d", r) }
	result, err := s.Invoke(ctx, "kv", kv.Put(key(round), value(round)))
	if err == nil {
		_, err = kv.DecodeDone(result)
	}
	if err != nil {
		return "", fmt.Errorf("put: %w", err)
	}
	for r := range round + 1 {
		answer, err := s.Query(ctx, "kv", kv.Get(key(r)), client.Linearizable)
		if err != nil {
			return "", fmt.Errorf("get: %w", err)
		}
		if got, err := kv.DecodeGet(answer); err != nil || !bytes.Equal(got, value(r)) {
			return "", fmt.Errorf("the value of %s is %q (%v), want %q", key(r), got, err, value(r))
		}
	}
	return "a key was put, and every key so far was read back", nil
}

func selfTestCounter(service string) func(context.Context, *Session, int) (string, error) {
	return func(ctx context.Context, s *Session, round int) (string, error) {
		const step = 5
		want := int64(step * (round + 1))
		result, err := s.Invoke(ctx, service, counter.Add(step))
		if err != nil {
			return "", err
		}
		if got, err := counter.DecodeValue(result); err != nil || got != want {
			return "", fmt.Errorf("the counter is %d (%v) after an addition, want %d", got, err, want)
		}
		return fmt.Sprintf("%d was added once, which makes %d", step, want), nil
	}
}

func selfTestEcho(ctx context.Context, s *Session, round int) (string, error) {
	key, err := s.key()
	if err != nil {
		return "", err
	}
	text := func(r uint64) string { return fmt.Sprintf("message of round %d", r) }
	result, err := s.Invoke(ctx, "echo", echo.Send(text(uint64(round))))
	if err != nil {
		return "", err
	}
	number := uint64(round + 1)
	if m, err := echo.DecodeSend(result); err != nil || m.Number != number || m.Text != text(uint64(round)) {
		return "", fmt.Errorf("%q came back as %d, %q (%v)", text(uint64(round)), m.Number, m.Text, err)
	}
	answer, err := s.Query(ctx, "echo", echo.History(key.Public(), 1, echo.MaxPage), client.Linearizable)
	if err != nil {
		return "", err
	}
	page, err := echo.DecodeHistory(answer)
	if err != nil || uint64(len(page.Messages)) != number {
		return "", fmt.Errorf("the history has %d messages (%v), want %d", len(page.Messages), err, number)
	}
	for i, m := range page.Messages {
		if m.Number != uint64(i)+1 || m.Text != text(uint64(i)) {
			return "", fmt.Errorf("message %d of the history is %d, %q", i+1, m.Number, m.Text)
		}
	}
	return fmt.Sprintf("a message came back as number %d, and the history has all of them in order", number), nil
}

func selfTestCalc(ctx context.Context, s *Session, round int) (string, error) {
	right, wrong := fmt.Sprintf("%d+5-4/3*4", round+3), fmt.Sprintf("1/(%d-%d)", round, round)
	for _, expression := range []string{right, wrong} {
		result, err := s.Invoke(ctx, "calc", []byte(expression))
		if err != nil {
			return "", err
		}
		want, failure := calc.Evaluate(expression)
		got, err := calc.Decode(result)
		if fmt.Sprint(err) != fmt.Sprint(failure) || err == nil && got.Cmp(want) != 0 {
			return "", fmt.Errorf("%s is %s, want %v, %v", expression, result, want, failure)
		}
	}
	value, err := calc.Evaluate(right)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s is %s, and %s has no value", right, value.RatString(), wrong), nil
}

// selfTestFileBytes makes a file of several parts, so that it goes by an upload.
const selfTestFileBytes = 3*files.ChunkSize - 1

func selfTestFiles(_ context.Context, s *Session, round int) (string, error) {
	const name = "selftest/file"
	local, copied := s.localFile("selftest-file"), s.localFile("selftest-copy")
	mode := files.Update
	if round == roundFresh {
		mode = files.Create
	}
	content := make([]byte, selfTestFileBytes)
	rand.Read(content) // never fails
	if err := os.WriteFile(local, content, 0o600); err != nil {
		return "", err
	}
	defer os.Remove(local)
	defer os.Remove(copied)
	c, err := s.openFiles()
	if err != nil {
		return "", err
	}
	defer c.close()
	f, err := openLocal(local)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if _, err := c.upload(mode, name, f); err != nil {
		return "", fmt.Errorf("storing: %w", err)
	}
	info, err := c.download(name, 0, copied, true)
	if err != nil {
		return "", fmt.Errorf("reading: %w", err)
	}
	got, err := os.ReadFile(copied)
	if err != nil {
		return "", err
	}
	if !bytes.Equal(got, content) {
		return "", errors.New("what was read back is not what was stored")
	}
	if want := uint64(round + 1); info.Version != want {
		return "", fmt.Errorf("version %d was read, want %d", info.Version, want)
	}
	return fmt.Sprintf("version %d, of %d bytes, was stored in parts and read back equal", info.Version, info.Size), nil
}
