package draw

import (
	"fmt"
	"strings"
)

// still is how many messages a still picture shows: beyond it nobody follows an arrow any more.
const still = 150

// thin leaves out messages until limit are left, and says how it did. First go the types that keep
// replicas level but decide nothing, the chattiest first; then, evenly over time, whole broadcasts,
// so that what is left still shows who tells whom. Lies stay as long as they do not fill the picture
// themselves.
func thin(messages []Message, limit int) (kept []Message, note string) {
	if len(messages) <= limit {
		return messages, ""
	}
	kept = messages
	var left []string
	for quiet := 1; quiet <= quietest && len(kept) > limit; quiet++ {
		kept = without(kept, quiet, &left)
	}
	note = fmt.Sprintf("%s of %s messages are drawn", "%s", grouped(len(messages)))
	if len(left) > 0 {
		note += "; left out: " + enumerate(left)
	}
	if len(kept) > limit {
		var groups, taken int
		kept, taken, groups = sample(kept, limit)
		note += fmt.Sprintf("; of the other %s sendings %s, evenly chosen", grouped(groups), grouped(taken))
	}
	return kept, fmt.Sprintf(note, grouped(len(kept))) + ". A shorter window shows more."
}

// quietest is the highest rank of style.Quiet.
const quietest = 6

// without leaves out the types of a rank, but for lies.
func without(messages []Message, quiet int, left *[]string) []Message {
	out := make(map[string]bool)
	for _, s := range usedStyles(messages) {
		if s.Quiet == quiet {
			out[s.Name] = true
			*left = append(*left, s.Name)
		}
	}
	var kept []Message
	for _, m := range messages {
		if !out[m.Type] || m.Lie {
			kept = append(kept, m)
		}
	}
	return kept
}

// sample keeps whole broadcasts, evenly spread: lies up to half of limit, then others. It tells how
// many of how many it kept, lies included.
func sample(messages []Message, limit int) (kept []Message, taken, all int) {
	type group struct{ from, until int }
	var lies, others []group
	for i := 0; i < len(messages); {
		j := i + 1
		for j < len(messages) && sentTogether(&messages[i], &messages[j]) {
			j++
		}
		if messages[i].Lie {
			lies = append(lies, group{i, j})
		} else {
			others = append(others, group{i, j})
		}
		i = j
	}
	keep := make([]bool, len(messages))
	// choose keeps as many groups as room allows, the first of each run of equal length.
	choose := func(groups []group, room int) int {
		for n := min(len(groups), room); n > 0; n-- {
			size := 0
			for k := range n {
				g := groups[k*len(groups)/n]
				size += g.until - g.from
			}
			if size > room {
				continue
			}
			for k := range n {
				g := groups[k*len(groups)/n]
				for i := g.from; i < g.until; i++ {
					keep[i] = true
				}
			}
			taken += n
			return size
		}
		return 0
	}
	used := choose(lies, limit/2)
	choose(others, limit-used)
	for i, m := range messages {
		if keep[i] {
			kept = append(kept, m)
		}
	}
	return kept, taken, len(lies) + len(others)
}

// sentTogether tells whether a and b are of one broadcast.
func sentTogether(a, b *Message) bool {
	return a.From == b.From && a.Sent == b.Sent && a.Type == b.Type && a.Text == b.Text && a.Lie == b.Lie
}

// enumerate joins words as a sentence does.
func enumerate(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
