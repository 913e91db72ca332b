package gateway

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/baluarte-bft/baluarte/node/client"
	"github.com/baluarte-bft/baluarte/node/receipt"
)

// call is a request that is being served.
type call struct {
	g       *Gateway
	w       *response
	r       *http.Request
	control *http.ResponseController
	route   *route
	account *account
	holder  holder  // for whom it is served
	place   *shares // where it holds one; nil: nowhere

	ctx      context.Context // ends with the time for the call, or with the connection
	partTime time.Duration   // for each of the calls that a transfer makes
	query    url.Values
	bodyRead bool  // to its end, or there is none
	changed  bool  // an operation was executed
	held     int64 // bytes of the gateway's memory
	// transferring is what a transfer holds of what its key's client may have outstanding.
	transferring int64
	// extra completes an answer: it is given the object without its closing brace.
	extra func([]byte) []byte
}

// run does what a request asks for.
func (c *call) run(rt *route) (any, error) {
	if err := c.readQuery(rt); err != nil {
		return nil, err
	}
	if rt.open {
		return rt.do(c)
	}
	if rt.body == noBody {
		if c.r.ContentLength != 0 {
			return nil, badRequest("%s takes no body", rt.method)
		}
		c.bodyEnds()
	}
	timeout, err := c.timeout()
	if err != nil {
		return nil, err
	}
	c.ctx, c.partTime = c.r.Context(), timeout
	if !rt.transfer {
		ctx, cancel := context.WithTimeout(c.ctx, timeout)
		defer cancel()
		c.ctx = ctx
	}
	return rt.do(c)
}

// bodyEnds: all of the body is here. From now on net/http watches whether the other end goes away; a deadline would look
// like that, and end the call.
func (c *call) bodyEnds() {
	c.bodyRead = true
	_ = c.control.SetReadDeadline(time.Time{}) // only a test's recorder has none
}

func badRequest(format string, args ...any) *Error {
	return fail(http.StatusBadRequest, "bad_request", format, args...)
}

// readQuery refuses parameters that the route does not know, as they are most likely misspelt.
func (c *call) readQuery(rt *route) error {
	query, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return badRequest("the query is malformed: %v", err)
	}
	for name, values := range query {
		switch {
		case !slices.Contains(rt.params, name):
			return badRequest("there is no parameter %q here, only %s", name, orNone(rt.params))
		case len(values) > 1:
			return badRequest("the parameter %s stands twice", name)
		case !utf8.ValidString(values[0]) && name != "prefix" && name != "after":
			return badRequest("the parameter %s is not UTF-8", name)
		}
	}
	c.query = query
	return nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// number is a whole number in the query.
func (c *call) number(name string, least, most, otherwise int64) (int64, error) {
	text := c.query.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least || n > most {
		return 0, badRequest("%s is %q: it must be a whole number from %d to %d", name, text, least, most)
	}
	return n, nil
}

func (c *call) timeout() (time.Duration, error) {
	most := time.Duration(c.g.limits.MaxCallTime)
	text := c.query.Get("timeout")
	if text == "" {
		return time.Duration(c.g.limits.CallTime), nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > most {
		return 0, badRequest("timeout is %q: it must be a time such as 500ms or 5s, at most %v", text, most)
	}
	return d, nil
}

var consistencies = map[string]client.Consistency{"": client.Linearizable, "linearizable": client.Linearizable,
	"ordered": client.Ordered, "stale": client.Stale}

func (c *call) consistency(text string) (client.Consistency, error) {
	mode, ok := consistencies[text]
	if !ok {
		return 0, badRequest("consistency is %q: it must be linearizable, ordered or stale", text)
	}
	return mode, nil
}

// ask asks the service of the route a question, with the consistency that the query names.
func (c *call) ask(question []byte) ([]byte, error) {
	mode, err := c.consistency(c.query.Get("consistency"))
	if err != nil {
		return nil, err
	}
	return c.askAs(c.route.service, question, mode)
}

func (c *call) askAs(service string, question []byte, mode client.Consistency) ([]byte, error) {
	answer, err := c.cluster().Query(c.ctx, service, question, mode)
	if err != nil {
		return nil, callFailed(err, true)
	}
	return answer, nil
}

// invoke has the service of the route execute an operation.
func (c *call) invoke(op []byte) ([]byte, error) { return c.invokeOn(c.route.service, op) }

func (c *call) invokeOn(service string, op []byte) ([]byte, error) {
	o := Operation{Service: service, Op: op}
	switch wanted := c.query.Get("receipt"); wanted {
	case "", "false":
	case "true":
		o.Receipt = true
	default:
		return nil, badRequest("receipt is %q: it must be true or false", wanted)
	}
	if err := c.readOnce(&o); err != nil {
		return nil, err
	}
	out, err := c.invokeShared(o)
	if err != nil && !errors.Is(err, client.ErrNoReceipt) {
		return nil, callFailed(err, false)
	}
	c.changed = true
	if o.Receipt {
		c.addReceipt(out.Receipt, err)
	}
	return out.Value, nil
}

// invokeShared invokes an operation within the account's share of what its key has for repetitions.
func (c *call) invokeShared(o Operation) (out Outcome, err error) {
	if o.Once == "" || c.account.openings == nil {
		return c.cluster().Invoke(c.ctx, o)
	}
	end, failed := c.account.openings.begin(c.holder, &o)
	if failed != nil {
		return Outcome{}, failed
	}
	err = client.ErrOutcomeUnknown // if it panics
	defer func() { end(err) }()
	out, err = c.cluster().Invoke(c.ctx, o)
	return out, err
}

// maxIdempotencyKey bounds the key of a request that may be repeated, in bytes.
const maxIdempotencyKey = 255

// readOnce takes the headers by which a request may be repeated. The keys of two accounts are never the same.
func (c *call) readOnce(o *Operation) error {
	key, until := c.r.Header.Get("Idempotency-Key"), c.r.Header.Get("Idempotency-Until")
	switch {
	case key == "" && until != "":
		return badRequest("Idempotency-Until is for requests with an Idempotency-Key")
	case key == "":
		return nil
	case len(key) > maxIdempotencyKey:
		return badRequest("the Idempotency-Key has %d bytes: at most %d are possible", len(key), maxIdempotencyKey)
	case c.route.transfer:
		return badRequest("an Idempotency-Key is not for files, which travel in many operations: the versions of the file tell what became of it")
	}
	// Two paths may come down to one operation, as the making of leases for two locks does.
	o.Once = c.account.Name + "/" + key + "\n" + c.r.Method + " " + c.r.URL.Path // no header has a line feed
	o.Until = time.Now().Add(time.Duration(c.g.limits.RepeatTime))
	if until == "" {
		return nil
	}
	t, err := time.Parse(time.RFC3339, until)
	if err != nil {
		return badRequest("Idempotency-Until is %q: it must be a time such as %s", until, o.Until.UTC().Format(time.RFC3339))
	}
	o.Until = t
	return nil
}

// addReceipt adds a receipt to the answer, or says why there is none: that the operation was executed must not be lost.
func (c *call) addReceipt(r *receipt.Receipt, err error) {
	member, what := "receipt", any(r)
	if err != nil {
		member, what = "receipt_error", err.Error()
	}
	text, err := json.Marshal(what)
	if err != nil {
		panic(fmt.Errorf("gateway: a receipt: %w", err))
	}
	c.extra = func(object []byte) []byte {
		if len(object) > 1 {
			object = append(object, ',')
		}
		return slices.Concat(object, []byte(`"`+member+`":`), text, []byte("}\n"))
	}
}

// reserve takes bytes of the gateway's memory, until the request ends.
func (c *call) reserve(n int64) *Error {
	if err := c.g.memory.take(c.holder, n); err != nil {
		return err
	}
	c.held += n
	return nil
}

// holds has the request hold so many bytes of the gateway's memory, if that is more than before; little is not counted.
func (c *call) holds(n int64) error {
	if n <= max(c.held, smallAnswer) {
		return nil
	}
	if err := c.reserve(n - c.held); err != nil { // a nil *Error would be no nil error
		return err
	}
	return nil
}

// release gives the memory back.
func (c *call) release() {
	c.g.memory.give(c.holder, c.held)
	c.held = 0
}

// end gives back all that a request holds.
func (c *call) end() {
	c.release()
	if c.transferring > 0 {
		c.account.outstanding.give(c.holder, c.transferring)
	}
	if c.place != nil {
		c.place.give(c.holder, 1)
	}
}

// body reads a JSON object into v, strictly.
func (c *call) body(v any) error {
	data, err := c.bodyBytes()
	if err != nil {
		return err
	}
	if !utf8.Valid(data) {
		return badRequest("the body is not UTF-8: bytes of other kinds go in base64, as value_base64 for value")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return badRequest("the body is not the object that belongs here: %s", describe(err, len(data)))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return badRequest("the body goes on after the object, at byte %d", dec.InputOffset())
	}
	return nil
}

// describe words an error of the JSON decoder for somebody who does not know Go.
func describe(err error, length int) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Sprintf("malformed JSON at byte %d: %v", syntax.Offset, err)
	case errors.As(err, &kind) && kind.Field == "":
		return fmt.Sprintf("it is a JSON %s", kind.Value)
	case errors.As(err, &kind):
		return fmt.Sprintf("%s is a JSON %s, which does not fit", kind.Field, kind.Value)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Sprintf("malformed JSON: it ends after %d bytes", length)
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

func (c *call) bodyBytes() ([]byte, error) {
	if kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, fail(http.StatusUnsupportedMediaType, "not_json", "the body must be JSON: send Content-Type: application/json")
	}
	if e := c.r.Header.Get("Content-Encoding"); e != "" {
		return nil, fail(http.StatusUnsupportedMediaType, "not_json", "the body must not be compressed or otherwise encoded (%s)", e)
	}
	most := int64(c.g.limits.Body)
	size := c.r.ContentLength
	if size > most {
		return nil, c.tooLarge()
	}
	if size < 0 {
		size = most // it is not known before it has come
	}
	if err := c.reserve(size); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.Grow(int(min(size, 64<<10)))
	n, err := b.ReadFrom(http.MaxBytesReader(nil, c.r.Body, most))
	c.g.metrics.received.Add(float64(n))
	if err != nil {
		return nil, c.readFailed(err)
	}
	c.bodyEnds()
	return b.Bytes(), nil
}

func (c *call) tooLarge() *Error {
	return fail(http.StatusRequestEntityTooLarge, "too_large", "the body is longer than %s: larger contents go through /v1/files", c.g.limits.Body)
}

// readFailed words an error of the connection.
func (c *call) readFailed(err error) *Error {
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return c.tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fail(http.StatusRequestTimeout, "slow_body", "the body did not come within %s", c.g.limits.BodyTime)
	}
	return badRequest("the body could not be read: %v", err)
}

// hosts tells whether the cluster hosts a service.
func (g *Gateway) hosts(service string) bool { return slices.Contains(g.manifest.Services, service) }

// text is a member of a JSON object that stands for bytes: a text, or base64 under a name that says so.
type text struct {
	plain  *string
	base64 *string
}

// bytes returns what one of the two gives; name is for the error.
func (t text) bytes(name string) ([]byte, error) {
	switch {
	case t.plain != nil && t.base64 != nil:
		return nil, badRequest("the body has both %s and %[1]s_base64: give one", name)
	case t.plain != nil:
		return []byte(*t.plain), nil
	case t.base64 == nil:
		return nil, badRequest("the body has neither %s nor %[1]s_base64", name)
	}
	b, err := base64.StdEncoding.DecodeString(*t.base64)
	if err != nil {
		return nil, badRequest("%s_base64 is not base64", name)
	}
	return b, nil
}

// addText adds bytes to a JSON object: as text if they are UTF-8, else in base64 under a name that says so.
func addText(o map[string]any, name string, b []byte) {
	if utf8.Valid(b) {
		o[name] = string(b)
	} else {
		o[name+"_base64"] = b
	}
}
