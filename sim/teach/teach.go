package teach

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/baluarte-bft/baluarte/sim/draw"
)

// Options are what can be chosen about a scenario.
type Options struct {
	// Seed is what the scenarios that draw something draw it from; any number will do. Exact models
	// draw nothing.
	Seed uint64 `json:"seed"`
}

// Scenario is one thing to be shown.
type Scenario struct {
	// Name is what it is called by, in kebab-case.
	Name string `json:"name"`
	// Title is one line.
	Title string `json:"title"`
	// Group is the heading that it stands under.
	Group string `json:"group"`
	// Story says what is seen, and what it teaches: some lines without line breaks of its own.
	Story string `json:"story"`
	// Run plays the scenario and prints it to w. An error means that it could not be played or
	// printed; what it shows is in the result.
	Run func(w io.Writer, o Options) (Result, error) `json:"-"`
}

// Result is what a scenario has shown.
type Result struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	Seed  uint64 `json:"seed"`
	// Facts are what the conclusion of the printed text says, in its order.
	Facts []Fact `json:"facts"`
	// Tables are those of the printed text.
	Tables []Table `json:"tables,omitempty"`

	stages []*stage
	run    *draw.Run // of a run of the engine
}

// Fact is one statement of the conclusion.
type Fact struct {
	// Name is unique within the result, in kebab-case.
	Name string `json:"name"`
	// Value is what was computed: a bool, an int, a string or a list of strings.
	Value any `json:"value"`
	// Text is the sentence that the reader sees, made from the value.
	Text string `json:"text"`
}

// Table is a table of the printed text.
type Table struct {
	Head []string   `json:"head"`
	Rows [][]string `json:"rows"`
}

// Value returns the value of the fact of that name, and nil if there is none.
func (r *Result) Value(name string) any {
	i := slices.IndexFunc(r.Facts, func(f Fact) bool { return f.Name == name })
	if i < 0 {
		return nil
	}
	return r.Facts[i].Value
}

// Group is a heading and the scenarios under it.
type Group struct {
	Title     string
	Scenarios []Scenario
}

// All returns every scenario in the order in which one would teach them, group after group.
func All() []Scenario {
	var all []Scenario
	for _, g := range Groups() {
		all = append(all, g.Scenarios...)
	}
	return all
}

// Groups returns the scenarios under their headings, in the order of All.
func Groups() []Group {
	groups := []Group{
		{"What dependable means", dependabilityScenarios()},
		{"How things fail", failureScenarios()},
		{"Masking by redundancy", redundancyScenarios()},
		{"Groups of processes", groupScenarios()},
		{"Agreement", agreementScenarios()},
		{"Detecting failures", detectionScenarios()},
		{"Remote procedure calls", rpcScenarios()},
		{"Orphans", orphanScenarios()},
		{"Several updates as one", atomicScenarios()},
		{"The engine under faults", engineScenarios()},
	}
	for _, g := range groups {
		for i := range g.Scenarios {
			g.Scenarios[i].Group = g.Title
		}
	}
	return groups
}

// Find returns the scenario of that name.
func Find(name string) (Scenario, error) {
	for _, s := range All() {
		if s.Name == name {
			return s, nil
		}
	}
	return Scenario{}, fmt.Errorf("teach: no scenario %q: bftsim list shows them all", name)
}

// scenario makes a scenario of what play puts on its page.
func scenario(name, title, story string, play func(p *page, o Options) error) Scenario {
	story = strings.Join(strings.Fields(story), " ") // the source has line breaks
	run := func(w io.Writer, o Options) (Result, error) {
		p := &page{res: Result{Name: name, Title: title, Seed: o.Seed}}
		p.title(title)
		p.say("%s", story)
		if err := play(p, o); err != nil {
			return Result{}, fmt.Errorf("teach: %s: %w", name, err)
		}
		p.conclude()
		_, err := w.Write(bytes.TrimLeft(p.text.Bytes(), "\n"))
		return p.res, err
	}
	return Scenario{Name: name, Title: title, Story: story, Run: run}
}

// model is a scenario that draws nothing and cannot fail.
func model(name, title, story string, play func(p *page)) Scenario {
	return scenario(name, title, story, func(p *page, _ Options) error {
		play(p)
		return nil
	})
}
