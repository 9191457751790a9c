package lab

import "fmt"

// reservedDescriptors are for all that is no tunnel: listeners, files, new tunnels.
const reservedDescriptors = 400

// generator is this process, with all that runs inside it.
const generator = "load generator"

// roomFor says whether each process may have the descriptors of so many tunnels on every arm at once.
func (l *Lab) roomFor(tunnels int, arms []string) error {
	limit := descriptorLimit()
	if limit == 0 {
		return nil
	}
	for process, each := range l.descriptors(arms) {
		if most := max(0, limit-reservedDescriptors) / each; tunnels > most {
			return fmt.Errorf("%d tunnels on each of %d arms take %d descriptors in the %s, which may have %d (ulimit -Hn): %d tunnels fit",
				tunnels, len(arms), tunnels*each, process, limit, most)
		}
	}
	return nil
}

// descriptors is what one tunnel on each arm takes, by process: the client's end and the backend's, which may be elsewhere, and two in the
// router and in each simulator. Peers and products are not counted: they have limits of their own.
func (l *Lab) descriptors(arms []string) map[string]int {
	count := map[string]int{}
	at := func(own *separate, name string) {
		if own == nil {
			name = generator
		}
		count[name] += 2
	}
	for _, arm := range arms {
		count[generator] += 2
		c, ok := l.chain(l.scenario.Bench.PathOf(arm))
		if !ok {
			continue
		}
		at(l.router.own, "router")
		for _, n := range c.nodes {
			if n.Real == "" {
				at(n.own, n.Name)
			}
		}
	}
	return count
}
