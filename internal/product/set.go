package product

import "slices"

// Set is what a package knows of products: each of its files registers one.
type Set[P interface{ ID() string }] struct{ all []P }

// ID is the product's name, by which a [Set] finds it.
func (p Product) ID() string { return p.Name }

// Register adds a product; a second one of its name is a mistake in the program.
func (s *Set[P]) Register(p P) {
	if _, ok := s.Find(p.ID()); ok {
		panic("product " + p.ID() + " registered twice")
	}
	s.all = append(s.all, p)
}

// Find finds a product by its name.
func (s *Set[P]) Find(name string) (found P, ok bool) {
	i := slices.IndexFunc(s.all, func(p P) bool { return p.ID() == name })
	if i < 0 {
		return found, false
	}
	return s.all[i], true
}

// Names are the products' names, sorted.
func (s *Set[P]) Names() []string {
	var names []string
	for _, p := range s.all {
		names = append(names, p.ID())
	}
	slices.Sort(names)
	return names
}
