package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
)

// maxResultFile bounds what is read of one file of results.
const maxResultFile = 1 << 30

// ReadResultFile reads the results of a file, see ReadResults.
func ReadResultFile(path string) ([]*Result, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	results, err := ReadResults(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return results, nil
}

// ReadResults reads what `bftbench run --json`, `run --repeat K --json` and `sweep --json` print: a Result, a Repeated or
// an array of Results, one or several after each other. It returns at least one, and at most 1 GiB is
// read.
func ReadResults(r io.Reader) ([]*Result, error) {
	var all []*Result
	limited := &io.LimitedReader{R: r, N: maxResultFile}
	for d := json.NewDecoder(limited); ; {
		var raw json.RawMessage
		err := d.Decode(&raw)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, notResults(err)
		}
		some, err := decodeResults(raw)
		if err != nil {
			return nil, notResults(err)
		}
		all = append(all, some...)
	}
	switch {
	case limited.N <= 0:
		return nil, fmt.Errorf("larger than %d bytes: give fewer results", maxResultFile)
	case len(all) == 0:
		return nil, errors.New("it holds no result: write one with bftbench run --json")
	}
	return all, nil
}

func notResults(err error) error {
	const text = "these are no results of bftbench run --json or sweep --json"
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New(text + ": it is not JSON")
	case errors.As(err, &kind):
		return errors.New(text)
	}
	return fmt.Errorf("%s: %w", text, err)
}

// decodeResults reads one JSON value, in any of its forms.
func decodeResults(raw json.RawMessage) ([]*Result, error) {
	var some []*Result
	if raw[0] == '[' {
		if err := json.Unmarshal(raw, &some); err != nil {
			return nil, err
		}
	} else {
		var either struct {
			Measurements []*Result `json:"measurements"`
		}
		if err := json.Unmarshal(raw, &either); err != nil {
			return nil, err
		}
		if some = either.Measurements; some == nil {
			some = []*Result{new(Result)}
			if err := json.Unmarshal(raw, some[0]); err != nil {
				return nil, err
			}
		}
	}
	for _, res := range some {
		if err := res.check(); err != nil {
			return nil, err
		}
	}
	return some, nil
}

// check tells a result from other JSON.
func (res *Result) check() error {
	switch {
	case res == nil:
		return errors.New("one of them is null")
	case res.Settings.N < 1 || res.Settings.DurationSeconds <= 0:
		return errors.New("one of them has no settings")
	case !(res.OpsPerSecond > 0) || math.IsInf(res.OpsPerSecond, 0):
		return errors.New("one of them has no throughput")
	}
	return nil
}
