package calc

import (
	"math/big"
	"strings"
	"unicode/utf8"
)

// Bounds on an expression, which bound the work that it is.
const (
	// MaxLength is the length of the longest expression, in bytes.
	MaxLength = 1000
	// MaxDepth is how many parentheses and signs may be open at once.
	MaxDepth = 50
	// MaxBits is the size of the largest number: no value on the way has a numerator or
	// denominator of more bits. It has about 300 digits.
	MaxBits = 1000
)

// Why an expression has no value.
const (
	DivisionByZero = "division by zero"
	TooLarge       = "the number is too large"
	TooLong        = "the expression is too long"
	TooDeep        = "parentheses and signs are nested too deeply"
	NoOperand      = "a number or ( belongs here"
	NoOperator     = "an operator belongs here"
	NotClosed      = "a ) belongs here"
	NotOpened      = "this ) closes nothing"
	DecimalComma   = "decimals have a point"
	NotKnown       = "this is neither a number, an operator nor a parenthesis"
)

// reasons are all of them.
var reasons = map[string]bool{DivisionByZero: true, TooLarge: true, TooLong: true, TooDeep: true,
	NoOperand: true, NoOperator: true, NotClosed: true, NotOpened: true, DecimalComma: true, NotKnown: true}

// maxResult is the length of the longest result that is a number: sign, two numbers, stroke.
const maxResult = 2 + 2*(MaxBits*30103/100000+1)

// signs maps what people write to what the parser reads.
var signs = map[rune]byte{'+': '+', '-': '-', '−': '-', '*': '*', '×': '*', '/': '/', '÷': '/', '(': '(', ')': ')', '.': '.', ',': ','}

// Evaluate returns the exact value of an expression, or an *Error. Of several things that are wrong
// it is the first from the left.
//
//	sum     = product { ("+" | "-") product }
//	product = factor { ("*" | "/") factor }
//	factor  = "-" factor | "(" sum ")" | number
//	number  = digits [ "." [ digits ] ] | "." digits
//
// Spaces may stand between these. Also accepted are − for -, × for *, and ÷ for /.
func Evaluate(expression string) (*big.Rat, error) {
	if len(expression) > MaxLength {
		return nil, &Error{utf8.RuneCountInString(expression[:MaxLength]) + 1, TooLong}
	}
	p := &parser{}
	for _, r := range expression {
		switch sign, ok := signs[r]; {
		case ok:
			p.tokens = append(p.tokens, sign)
		case r >= '0' && r <= '9' || r == ' ':
			p.tokens = append(p.tokens, byte(r))
		default:
			p.tokens = append(p.tokens, unknown)
		}
	}
	value := p.sum()
	if p.failed == nil && p.peek() != end {
		p.expected(NoOperator)
	}
	if p.failed != nil {
		return nil, p.failed
	}
	return value, nil
}

// What the parser sees besides signs, digits and spaces.
const (
	end     = 0
	unknown = 1
)

// parser reads an expression from left to right and computes on the way. Once failed is set,
// nothing that it returns counts.
type parser struct {
	tokens []byte // one for each character
	at     int
	depth  int
	failed *Error
}

// peek skips spaces and returns what comes next.
func (p *parser) peek() byte {
	for p.at < len(p.tokens) && p.tokens[p.at] == ' ' {
		p.at++
	}
	if p.at == len(p.tokens) {
		return end
	}
	return p.tokens[p.at]
}

// fail notes the first error.
func (p *parser) fail(at int, reason string) {
	if p.failed == nil {
		p.failed = &Error{at + 1, reason}
	}
}

// expected fails where something else should stand.
func (p *parser) expected(reason string) {
	switch p.peek() {
	case unknown:
		reason = NotKnown
	case ',':
		reason = DecimalComma
	case ')':
		if reason == NoOperator {
			reason = NotOpened
		}
	}
	p.fail(p.at, reason)
}

func (p *parser) sum() *big.Rat {
	value := p.product()
	for p.failed == nil && (p.peek() == '+' || p.peek() == '-') {
		value = p.operate(value, p.product)
	}
	return value
}

func (p *parser) product() *big.Rat {
	value := p.factor()
	for p.failed == nil && (p.peek() == '*' || p.peek() == '/') {
		value = p.operate(value, p.factor)
	}
	return value
}

// operate reads an operator and what stands to its right, and computes.
func (p *parser) operate(left *big.Rat, operand func() *big.Rat) *big.Rat {
	at, operator := p.at, p.tokens[p.at]
	p.at++
	right := operand()
	switch {
	case p.failed != nil:
		return nil
	case operator == '+':
		left.Add(left, right)
	case operator == '-':
		left.Sub(left, right)
	case operator == '*':
		left.Mul(left, right)
	case right.Sign() == 0:
		p.fail(at, DivisionByZero)
		return nil
	default:
		left.Quo(left, right)
	}
	return p.bounded(at, left)
}

// bounded fails if a number is too large.
func (p *parser) bounded(at int, value *big.Rat) *big.Rat {
	if value.Num().BitLen() > MaxBits || value.Denom().BitLen() > MaxBits {
		p.fail(at, TooLarge)
		return nil
	}
	return value
}

func (p *parser) factor() *big.Rat {
	token, at := p.peek(), p.at
	switch {
	case token == '-' || token == '(':
		if p.depth == MaxDepth {
			p.fail(at, TooDeep)
			return nil
		}
		p.at++
		p.depth++
		defer func() { p.depth-- }()
		if token == '-' {
			return p.negated()
		}
		return p.parenthesis()
	case token == '.' || isDigit(token):
		return p.number()
	}
	p.expected(NoOperand)
	return nil
}

// negated reads what follows a minus.
func (p *parser) negated() *big.Rat {
	value := p.factor()
	if p.failed != nil {
		return nil
	}
	return value.Neg(value)
}

// parenthesis reads what follows a parenthesis, and its end.
func (p *parser) parenthesis() *big.Rat {
	value := p.sum()
	if p.failed == nil && p.peek() != ')' {
		reason := NoOperator
		if p.peek() == end {
			reason = NotClosed
		}
		p.expected(reason)
	}
	p.at++
	return value
}

func isDigit(token byte) bool { return token >= '0' && token <= '9' }

// number reads a number: m digits, and n more after the point, are digits / 10^n.
func (p *parser) number() *big.Rat {
	start := p.at
	whole := p.digits()
	var fraction string
	if p.at < len(p.tokens) && p.tokens[p.at] == '.' {
		p.at++
		fraction = p.digits()
	}
	digits, ok := new(big.Int).SetString(whole+fraction, 10)
	if !ok { // a point alone
		p.fail(start, NoOperand)
		return nil
	}
	scale, _ := new(big.Int).SetString("1"+strings.Repeat("0", len(fraction)), 10)
	return p.bounded(start, new(big.Rat).SetFrac(digits, scale))
}

// digits reads as many digits as there are.
func (p *parser) digits() string {
	start := p.at
	for p.at < len(p.tokens) && isDigit(p.tokens[p.at]) {
		p.at++
	}
	return string(p.tokens[start:p.at])
}
