package draw

import (
	"maps"
	"slices"
)

// style is how messages of a type look. Colours differ in lightness too, and widths and dashes help
// those who cannot tell them apart.
type style struct {
	Name  string  `json:"name"`
	Light string  `json:"light"` // on white
	Dark  string  `json:"dark"`  // on nearly black
	Width float64 `json:"width"`
	Dash  []int   `json:"dash,omitempty"`
	// Quiet orders what a crowded picture leaves out first, 1 before 2; 0: never as a type.
	Quiet int `json:"quiet,omitempty"`
	Count int `json:"count"`
}

// styles are the types that are known, in the order of the legend: the way of a request, then
// checkpoints, the change of a view, and what keeps replicas level.
var styles = []style{
	{Name: "request", Light: "#0b5fc0", Dark: "#74b0ff", Width: 1.5},
	{Name: "pre-prepare", Light: "#b85200", Dark: "#ffab57", Width: 2.2},
	{Name: "prepare", Light: "#1f7a2e", Dark: "#79d984", Width: 1.4},
	{Name: "commit", Light: "#6d35b3", Dark: "#c9a4ff", Width: 1.4, Dash: []int{8, 3}},
	{Name: "votes", Light: "#476a6f", Dark: "#9fc4c9", Width: 1.4},
	{Name: "reply", Light: "#00757a", Dark: "#4fd3d3", Width: 1.5},
	{Name: "busy", Light: "#5c6f86", Dark: "#9db1c9", Width: 1.2, Dash: []int{2, 3}, Quiet: 3},
	{Name: "query", Light: "#3d56a8", Dark: "#9db4ff", Width: 1.2, Dash: []int{6, 3}, Quiet: 6},
	{Name: "answer", Light: "#2b6b88", Dark: "#83c9e8", Width: 1.2, Dash: []int{6, 3}, Quiet: 6},
	{Name: "checkpoint", Light: "#7c6200", Dark: "#dec05a", Width: 1.6, Quiet: 5},
	{Name: "view-change", Light: "#b0127a", Dark: "#ff83c8", Width: 2},
	{Name: "new-view", Light: "#7a0f5c", Dark: "#ff5fd0", Width: 2.8},
	{Name: "status", Light: "#8b939d", Dark: "#79828d", Width: 0.8, Dash: []int{2, 3}, Quiet: 1},
	{Name: "fetch", Light: "#7b6a55", Dark: "#b8a58c", Width: 1.1, Dash: []int{4, 2}, Quiet: 2},
	{Name: "data", Light: "#8f5a22", Dark: "#d6a468", Width: 1.5, Quiet: 4},
}

// others are the colours of types that are not known.
var others = [][2]string{
	{"#4a6d1c", "#b6d97f"}, {"#8a4b4b", "#e3a5a5"}, {"#2f5f86", "#93c4ec"}, {"#6b4f8a", "#c8ade6"}, {"#6f6a2a", "#d0ca80"}, {"#3b7a6a", "#8fd6c4"},
}

// viewColours are the bands' colours, by the view modulo their number: light, dark.
var viewColours = [][2]string{
	{"#dbe9fb", "#16304f"}, {"#fdebd0", "#4a3310"}, {"#ddf2df", "#17401f"}, {"#efe2fa", "#37234f"}, {"#d8f1f1", "#0f3f41"}, {"#fbe1ec", "#4c1c35"}, {"#f3f0cf", "#403b10"},
}

// usedStyles returns the styles of the types that the run has, in the legend's order: those that
// are known, then the others by name.
func usedStyles(messages []Message) []style {
	count := make(map[string]int)
	for i := range messages {
		count[messages[i].Type]++
	}
	var out []style
	for _, s := range styles {
		if s.Count = count[s.Name]; s.Count > 0 {
			out = append(out, s)
			delete(count, s.Name)
		}
	}
	for i, name := range slices.Sorted(maps.Keys(count)) {
		c := others[i%len(others)]
		s := style{Name: name, Light: c[0], Dark: c[1], Width: 1.4, Count: count[name]}
		if round := i / len(others); round > 0 {
			s.Dash = []int{3 + 2*round, 2}
		}
		out = append(out, s)
	}
	return out
}
