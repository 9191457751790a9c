package albsim

// FaultKnobs are what goes wrong on purpose.
type FaultKnobs struct {
	// Faults are put into every connection from its beginning, as those of the document are.
	Faults []Injection
}
