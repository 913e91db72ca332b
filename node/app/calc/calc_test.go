package calc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/apptest"
	"github.com/baluarte-bft/baluarte/node/app/calc"
	"github.com/baluarte-bft/baluarte/sim/simtest"
)

// evaluate has a service evaluate an expression, and returns its result.
func evaluate(t rapid.TB, expression string) string {
	m, err := calc.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(m.Apply(app.Context{}, []byte(expression)))
}

func TestExpressions(t *testing.T) {
	for expression, want := range map[string]string{
		"3+5-4/3*4":                   "8/3",
		"-3+5":                        "2",
		"2*(3+4)":                     "14",
		"1-2-3":                       "-4",
		"8/4/2":                       "1",
		"2--2":                        "4",
		"-(-(2))":                     "2",
		"3*-4":                        "-12",
		"1.5 + .25 + 2.":              "15/4",
		"0.1+0.2":                     "3/10",
		"007":                         "7",
		"-0":                          "0",
		"6×7÷2−1":                     "20",
		" 1 ":                         "1",
		"1/3+1/3+1/3":                 "1",
		"0.000":                       "0",
		strings.Repeat("9", 301):      strings.Repeat("9", 301),
		strings.Repeat("-", 50) + "1": "1",

		"":        "error at 1: " + calc.NoOperand,
		"  ":      "error at 3: " + calc.NoOperand,
		"1/(2-2)": "error at 2: " + calc.DivisionByZero,
		"7÷0":     "error at 2: " + calc.DivisionByZero,
		"1/0+":    "error at 2: " + calc.DivisionByZero,
		"3+*4":    "error at 3: " + calc.NoOperand,
		"3+":      "error at 3: " + calc.NoOperand,
		"3 4":     "error at 3: " + calc.NoOperator,
		"2(3)":    "error at 2: " + calc.NoOperator,
		"(2)3":    "error at 4: " + calc.NoOperator,
		"1.2.3":   "error at 4: " + calc.NoOperator,
		"(1+2":    "error at 5: " + calc.NotClosed,
		"(1 2)":   "error at 4: " + calc.NoOperator,
		"(1 x)":   "error at 4: " + calc.NotKnown,
		"1+2)":    "error at 4: " + calc.NotOpened,
		"()":      "error at 2: " + calc.NoOperand,
		")":       "error at 1: " + calc.NoOperand,
		".":       "error at 1: " + calc.NoOperand,
		"1+. 5":   "error at 3: " + calc.NoOperand,
		"3,5":     "error at 2: " + calc.DecimalComma,
		"2^3":     "error at 2: " + calc.NotKnown,
		"×x":      "error at 1: " + calc.NoOperand,
		"2×x":     "error at 3: " + calc.NotKnown,
		"1\n+1":   "error at 2: " + calc.NotKnown,
		"1+\xff":  "error at 3: " + calc.NotKnown,
		"1+\x00":  "error at 3: " + calc.NotKnown,
		"１":       "error at 1: " + calc.NotKnown,
		"1e3":     "error at 2: " + calc.NotKnown,
		"+1":      "error at 1: " + calc.NoOperand,
	} {
		if got := evaluate(t, expression); got != want {
			t.Errorf("%.60q: %s, want %s", expression, got, want)
		}
	}
}

// TestBounds: what is at a bound is evaluated, what is one beyond is refused where it goes beyond.
func TestBounds(t *testing.T) {
	highest := new(big.Int).Lsh(big.NewInt(1), calc.MaxBits-1) // it has MaxBits bits
	power, below := highest.String(), new(big.Int).Sub(highest, big.NewInt(1)).String()
	nested := func(n int) string { return strings.Repeat("(", n) + "1" + strings.Repeat(")", n) }
	for name, c := range map[string]struct{ expression, want string }{
		"longest":           {"1" + strings.Repeat(" ", calc.MaxLength-1), "1"},
		"too long":          {"1" + strings.Repeat(" ", calc.MaxLength), fmt.Sprintf("error at %d: %s", calc.MaxLength+1, calc.TooLong)},
		"deepest":           {nested(calc.MaxDepth), "1"},
		"too deep":          {nested(calc.MaxDepth + 1), fmt.Sprintf("error at %d: %s", calc.MaxDepth+1, calc.TooDeep)},
		"too many signs":    {strings.Repeat("-", calc.MaxDepth+1) + "1", fmt.Sprintf("error at %d: %s", calc.MaxDepth+1, calc.TooDeep)},
		"largest":           {power, power},
		"too large":         {power + "+" + power, fmt.Sprintf("error at %d: %s", len(power)+1, calc.TooLarge)},
		"too large product": {"2*" + power, "error at 2: " + calc.TooLarge},
		"too small":         {"1/" + power + "/2", fmt.Sprintf("error at %d: %s", len(power)+3, calc.TooLarge)},
		"too many digits":   {"1+" + strings.Repeat("9", 400), "error at 3: " + calc.TooLarge},
		"too many places":   {"0." + strings.Repeat("0", 400) + "1", "error at 1: " + calc.TooLarge},
		"many zeros":        {"0." + strings.Repeat("0", 900), "0"},
		"longest result":    {"-" + power + "/(" + power + "-1)", "-" + power + "/" + below},
	} {
		got := evaluate(t, c.expression)
		if got != c.want {
			t.Errorf("%s: %.60s, want %.60s", name, got, c.want)
		}
		if _, err := calc.Decode([]byte(got)); err != nil && !errors.As(err, new(*calc.Error)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// expression draws an expression, and computes what it is worth in another way: from the tree of
// which the text is made. A nil value is a division by zero somewhere.
func expression(t *rapid.T, depth int) (text string, value *big.Rat) {
	kind := rapid.IntRange(0, 6).Draw(t, "kind")
	if depth == 0 || kind == 0 {
		tenths := rapid.Int64Range(0, 500).Draw(t, "tenths")
		return fmt.Sprintf("%d.%d", tenths/10, tenths%10), big.NewRat(tenths, 10)
	}
	left, a := expression(t, depth-1)
	if kind == 1 {
		if a != nil {
			a = new(big.Rat).Neg(a)
		}
		return "-(" + left + ")", a
	}
	right, b := expression(t, depth-1)
	operator := rapid.SampledFrom([]string{"+", "-", "−", "*", "×", "/", "÷"}).Draw(t, "operator")
	text = "(" + left + ") " + operator + "(" + right + " )"
	if a == nil || b == nil {
		return text, nil
	}
	switch operator {
	case "+":
		return text, new(big.Rat).Add(a, b)
	case "-", "−":
		return text, new(big.Rat).Sub(a, b)
	case "*", "×":
		return text, new(big.Rat).Mul(a, b)
	}
	if b.Sign() == 0 {
		return text, nil
	}
	return text, new(big.Rat).Quo(a, b)
}

func TestCalcComputesLikeTheTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, want := expression(t, 4)
		got, err := calc.Evaluate(text)
		var failed *calc.Error
		switch {
		case want == nil && errors.As(err, &failed) && failed.Reason == calc.DivisionByZero:
			if at := []rune(text)[failed.Position-1]; at != '/' && at != '÷' {
				t.Fatalf("%s: position %d", text, failed.Position)
			}
		case want == nil || err != nil || got.Cmp(want) != 0:
			t.Fatalf("%s: %v, %v, want %v", text, got, err, want)
		}
	})
}

// TestPrecedence compares expressions without parentheses with the sums of products that they are.
func TestPrecedence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var text strings.Builder
		sum := new(big.Rat)
		for i := range rapid.IntRange(1, 4).Draw(t, "terms") {
			minus := rapid.Bool().Draw(t, "minus")
			if minus {
				text.WriteString("-")
			} else if i > 0 {
				text.WriteString("+")
			}
			term := big.NewRat(1, 1)
			for j := range rapid.IntRange(1, 4).Draw(t, "factors") {
				n := rapid.Int64Range(1, 20).Draw(t, "factor")
				switch {
				case j == 0:
					term.SetInt64(n)
				case rapid.Bool().Draw(t, "divide"):
					text.WriteString("/")
					term.Quo(term, big.NewRat(n, 1))
				default:
					text.WriteString("*")
					term.Mul(term, big.NewRat(n, 1))
				}
				fmt.Fprint(&text, n)
			}
			if minus {
				term.Neg(term)
			}
			sum.Add(sum, term)
		}
		if got, err := calc.Evaluate(text.String()); err != nil || got.Cmp(sum) != 0 {
			t.Fatalf("%s: %v, %v, want %v", &text, got, err, sum)
		}
	})
}

func TestDecimal(t *testing.T) {
	for _, c := range []struct {
		value  *big.Rat
		places int
		want   string
		exact  bool
	}{
		{big.NewRat(8, 3), 10, "2.6666666667", false},
		{big.NewRat(13, 2), 10, "6.5", true},
		{big.NewRat(-1, 2), 0, "-1", false},
		{big.NewRat(100, 1), 2, "100", true},
		{big.NewRat(100, 1), 0, "100", true},
		{big.NewRat(1, 1000), 2, "0.00", false},
		{new(big.Rat), 3, "0", true},
	} {
		if got, exact := calc.Decimal(c.value, c.places); got != c.want || exact != c.exact {
			t.Errorf("%v to %d places: %s, exact %t", c.value, c.places, got, exact)
		}
	}
}

func TestWhatIsNoResultIsRefused(t *testing.T) {
	for _, result := range []string{"", "+1", "2/4", "1/0", "1e9", "0x1", "1.5", "-0", "01", "error at 0: " + calc.TooDeep,
		"error at 1: something else", "error at 2", "error", strings.Repeat("9", 700)} {
		if value, err := calc.Decode([]byte(result)); err == nil || errors.As(err, new(*calc.Error)) {
			t.Errorf("%.20q: %v, %v", result, value, err)
		}
	}
}

// sample draws expressions, some of which are wrong.
func sample(r *rand.Rand) []byte {
	var b []byte
	for range 1 + r.IntN(4) {
		b = append(b, []string{"-", "(", "", ""}[r.IntN(4)]...)
		b = append(b, []string{"0", "1", "2.5", "33", "x"}[r.IntN(5)]...)
		b = append(b, []string{"+", "-", "×", "/", ")", ""}[r.IntN(6)]...)
	}
	return append(b, '1')
}

func TestCalcKeepsThePromisesOfAService(t *testing.T) {
	ops := apptest.Generate(1, 300, sample)
	apptest.Check(t, calc.New, ops, apptest.Queries([]byte("1/3"), []byte("nonsense")))
}

func TestUnderFaults(t *testing.T) {
	expressions := func(r *rand.Rand, _ int) []byte { return sample(r) }
	// The service has no state, so each call can be checked alone.
	check := func(op, result []byte, _ bool) error {
		want, wrong := calc.Evaluate(string(op))
		value, err := calc.Decode(result)
		if wrong != nil && err != nil && err.Error() == wrong.Error() || wrong == nil && err == nil && value.Cmp(want) == 0 {
			return nil
		}
		return fmt.Errorf("the result is %q; want %v, %v", result, want, wrong)
	}
	simtest.Run(t, calc.New, 20, simtest.Operations(expressions), simtest.Queries(expressions), simtest.Results(check))
}

func TestQuestionIsAnsweredLikeAnOperation(t *testing.T) {
	m, _ := calc.New(nil)
	for _, expression := range []string{"1/3", "1/0", ""} {
		answer, err := m.Query(context.Background(), []byte(expression))
		if err != nil || string(answer) != evaluate(t, expression) {
			t.Errorf("%q: %q, %v", expression, answer, err)
		}
	}
}

func FuzzCalc(f *testing.F) {
	for _, expression := range []string{"", "3+5-4/3*4", "-(1.5+2)", "1/0", "((", "2×−3÷.5", "1.", "\xff", "9*9*9*9", "1 2", "3,5"} {
		f.Add([]byte(expression))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		result := evaluate(t, string(b))
		value, err := calc.Decode([]byte(result))
		var failed *calc.Error
		switch {
		case errors.As(err, &failed):
			if failed.Position < 1 || failed.Position > len([]rune(string(b)))+1 || failed.Error() != result {
				t.Errorf("%q: %s", b, result)
			}
		case err != nil:
			t.Errorf("%q: %v", b, err)
		case value.Num().BitLen() > calc.MaxBits || value.Denom().BitLen() > calc.MaxBits:
			t.Errorf("%q: the result has more than %d bits", b, calc.MaxBits)
		default:
			again, err := calc.Evaluate("-(" + string(b) + ")")
			if errors.As(err, &failed) && (failed.Reason == calc.TooLong || failed.Reason == calc.TooDeep) {
				break
			}
			if err != nil || again.Neg(again).Cmp(value) != 0 {
				t.Errorf("%q is %s, but its negative is %v, %v", b, result, again, err)
			}
		}
		calc.Decode(b)
		m, _ := calc.New(nil)
		if err := m.Restore(bytes.NewReader(b)); (err == nil) != (len(b) == 0) {
			t.Errorf("restore of %q: %v", b, err)
		}
	})
}

// BenchmarkWorst evaluates the expressions that are the most work within the bounds.
func BenchmarkWorst(b *testing.B) {
	sum := "0"
	for n := 3; ; n += 2 {
		next := fmt.Sprintf("%s+1/%d", sum, n)
		if _, err := calc.Evaluate(next); err != nil {
			break // it is as long as can be, or has as many bits
		}
		sum = next
	}
	large := strings.Repeat("9", 300)
	for name, expression := range map[string]string{
		"sum of fractions": sum,
		"large numbers":    large + "/7" + strings.Repeat("*1/3*3", (calc.MaxLength-len(large)-2)/6),
		"two large":        large + "/" + strings.Repeat("7", 300) + strings.Repeat("+1-1", (calc.MaxLength-601)/4),
		"nested":           strings.Repeat("-", calc.MaxDepth) + "1",
	} {
		if _, err := calc.Evaluate(expression); err != nil {
			b.Fatalf("%s: %v", name, err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				calc.Evaluate(expression)
			}
		})
	}
}
