// Package selftest tests the tests: every check passes on the reference implementation and fails on a mutant of it, an
// implementation that is broken in one way only, while the check's positive control still passes.
//
// It has test files only. A mutant is one of three kinds: another configuration of the real router, a proxy that spoils bytes
// in front of a good implementation or behind it, or a deliberately naive mini router with one of its bugs switched on. A file
// <group>_test.go adds the mutants of its group in init, by addMutant. TestKillMatrix runs them and fails for a check without a
// mutant and for a mutant that kills nothing; with -v it prints which mutant is killed by what.
//
// Each target has a lab of its own, so that they can run at the same time. What waits for timers runs apart from what works hard.
package selftest
