package echo

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/baluarte-bft/baluarte/bft"
)

// Message is a message that was sent.
type Message struct {
	// Number counts the messages of its client, from 1. It begins anew once all of a client's
	// messages have been pushed out by later ones of others.
	Number uint64 `json:"number"`
	Text   string `json:"text"`
}

// Send returns the operation that sends a message: the text itself.
func Send(text string) []byte { return []byte(text) }

// DecodeSend returns the message that the result of Send tells.
func DecodeSend(result []byte) (Message, error) {
	number, text, ok := strings.Cut(string(result), " ")
	n, err := parseNumber(number)
	if !ok || err != nil {
		return Message{}, fmt.Errorf("echo: %.40q is not a result", result)
	}
	return Message{n, text}, nil
}

// History returns the question for the messages of a client, in order, from that number on, at most
// limit of them; a limit that is not in 1..MaxPage means MaxPage. Whoever may ask at all may
// ask for the messages of anybody.
func History(client bft.ClientID, from uint64, limit int) []byte {
	if limit < 1 || limit > MaxPage {
		limit = MaxPage
	}
	return fmt.Appendf(nil, "history %s %d %d", client, from, limit)
}

// decodeHistory reads a question.
func decodeHistory(question []byte) (client bft.ClientID, from uint64, limit int, err error) {
	words := strings.Split(string(question), " ")
	if len(words) != 4 || words[0] != "history" {
		return client, 0, 0, ErrBadQuestion
	}
	key, err1 := hex.DecodeString(words[1])
	from, err2 := strconv.ParseUint(words[2], 10, 64)
	limit, err3 := strconv.Atoi(words[3])
	if err1 != nil || len(key) != len(client) || err2 != nil || err3 != nil || limit < 1 || limit > MaxPage {
		return client, 0, 0, ErrBadQuestion
	}
	return bft.ClientID(key), from, limit, nil
}

// Page is a part of a history.
type Page struct {
	Messages []Message
	// More: there are further messages. The next question is from the number after the last one.
	More bool
}

// more is the last line of an answer after which there are further messages.
const more = "more\n"

// appendMessage appends the line of a message, with the text quoted: it may have lines itself.
func appendMessage(answer []byte, number uint64, text []byte) []byte {
	answer = append(strconv.AppendUint(answer, number, 10), ' ')
	return append(strconv.AppendQuoteToASCII(answer, string(text)), '\n')
}

// DecodeHistory returns the page that the answer to History tells.
func DecodeHistory(answer []byte) (Page, error) {
	var p Page
	answer, p.More = bytes.CutSuffix(answer, []byte(more))
	for line := range strings.Lines(string(answer)) {
		number, quoted, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		n, err1 := parseNumber(number)
		text, err2 := strconv.Unquote(quoted)
		if err1 != nil || err2 != nil || quoted[0] != '"' {
			return Page{}, fmt.Errorf("echo: %.40q is not a line of a history", line)
		}
		p.Messages = append(p.Messages, Message{n, text})
	}
	if p.More && len(p.Messages) == 0 {
		return Page{}, fmt.Errorf("echo: a page without a message, but more after it")
	}
	return p, nil
}

// parseNumber reads the number of a message.
func parseNumber(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err == nil && n == 0 {
		err = strconv.ErrRange
	}
	return n, err
}
