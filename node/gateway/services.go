package gateway

import (
	"errors"
	"math"
	"net/http"
	"strings"

	"github.com/baluarte-bft/baluarte/node/app/calc"
	"github.com/baluarte-bft/baluarte/node/app/counter"
	"github.com/baluarte-bft/baluarte/node/app/echo"
)

func counterGet(c *call) (any, error) {
	result, err := c.ask(counter.Get())
	return counterValue(result, err)
}

func counterAdd(c *call) (any, error) { return c.counterChange(counter.Add) }
func counterMul(c *call) (any, error) { return c.counterChange(counter.Mul) }

func (c *call) counterChange(op func(int64) []byte) (any, error) {
	var in struct {
		Number *int64 `json:"number"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if in.Number == nil {
		return nil, badRequest("the body has no number")
	}
	result, err := c.invoke(op(*in.Number))
	return counterValue(result, err)
}

func counterValue(result []byte, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	n, err := counter.DecodeValue(result)
	switch {
	case errors.Is(err, counter.ErrOverflow):
		return nil, fail(http.StatusUnprocessableEntity, "overflow", "the result does not fit 64 bits: the counter stays as it was")
	case err != nil:
		return nil, malformed(err)
	}
	return map[string]int64{"value": n}, nil
}

// Bounds of the decimal places of calc.
const (
	defaultPlaces = 10
	maxPlaces     = 1000
)

func calcEvaluate(c *call) (any, error) {
	var in struct {
		Expression string `json:"expression"`
		Places     *int   `json:"places"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	places := defaultPlaces
	if in.Places != nil {
		places = *in.Places
	}
	if places < 0 || places > maxPlaces {
		return nil, badRequest("places is %d: it must be from 0 to %d", places, maxPlaces)
	}
	expression := strings.TrimSpace(in.Expression)
	result, err := c.invoke([]byte(expression))
	if err != nil {
		return nil, err
	}
	value, err := calc.Decode(result)
	var wrong *calc.Error
	switch {
	case errors.As(err, &wrong):
		e := fail(http.StatusUnprocessableEntity, "bad_expression", "character %d of the expression: %s", wrong.Position, wrong.Reason)
		switch wrong.Reason {
		case calc.DivisionByZero:
			e.Code = "division_by_zero"
		case calc.TooLarge:
			e.Code = "number_too_large"
		}
		e.Details = map[string]any{"position": wrong.Position, "reason": wrong.Reason}
		return nil, e
	case err != nil:
		return nil, malformed(err)
	}
	decimal, exact := calc.Decimal(value, places)
	return map[string]any{"expression": expression, "value": value.RatString(), "decimal": decimal, "exact": exact}, nil
}

func echoSend(c *call) (any, error) {
	var in struct {
		Text   *string `json:"text"`
		Base64 *string `json:"text_base64"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	message, err := text{in.Text, in.Base64}.bytes("text")
	if err != nil {
		return nil, err
	}
	if len(message) > echo.MaxText {
		return nil, fail(http.StatusRequestEntityTooLarge, "too_large", "the message has %d bytes: at most %d are possible", len(message), echo.MaxText)
	}
	result, err := c.invoke(echo.Send(string(message)))
	if err != nil {
		return nil, err
	}
	m, err := echo.DecodeSend(result)
	if err != nil {
		return nil, malformed(err)
	}
	return messageObject(m), nil
}

func messageObject(m echo.Message) map[string]any {
	o := map[string]any{"number": m.Number}
	addText(o, "text", []byte(m.Text))
	return o
}

// echoHistory lists a page of the messages that were sent with the key of who asks.
func echoHistory(c *call) (any, error) {
	from, err := c.number("from", 1, math.MaxInt64, 1)
	if err != nil {
		return nil, err
	}
	limit, err := c.number("limit", 1, echo.MaxPage, echo.MaxPage)
	if err != nil {
		return nil, err
	}
	answer, err := c.ask(echo.History(c.account.Key, uint64(from), int(limit)))
	if err != nil {
		return nil, err
	}
	page, err := echo.DecodeHistory(answer)
	if err != nil {
		return nil, malformed(err)
	}
	messages := make([]map[string]any, len(page.Messages))
	for i, m := range page.Messages {
		messages[i] = messageObject(m)
	}
	return map[string]any{"messages": messages, "more": page.More}, nil
}
