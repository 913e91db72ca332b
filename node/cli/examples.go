package cli

import "slices"

// firstCalls are two commands that call a service of the program, as examples: of kv if it hosts that, else of the
// first service that has commands, else of the first one, which anything calls by invoke and query.
func (p *Program) firstCalls() []string {
	has := func(s Service) bool { return s.Commands != nil }
	switch i := slices.IndexFunc(p.Services, has); {
	case slices.ContainsFunc(p.Services, func(s Service) bool { return s.Name == "kv" && has(s) }):
		return []string{"kv put a 1", "kv get a"}
	case i >= 0:
		return []string{p.Services[i].Name + " --help"}
	}
	name := p.defaultNames()[0]
	return []string{"invoke " + name + " OPERATION", "query " + name + " QUESTION"}
}
