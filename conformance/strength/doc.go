// Package strength measures the checks and not the target: a fault is put before a target that conforms, between it and the checks,
// and the checks that are there for that fault must notice. It needs nothing of the target but that it can be reached, so the
// strength of the suite can be measured on a stranger too; conformance/selftest does the same with broken implementations, check by
// check.
//
// A fault spoils either the bytes as they are ([Wire]), which are mostly TLS records, or what is inside the outer TLS of an upgrade
// endpoint ([HTTP]). One file of the catalogue holds the faults of one kind; to add a fault, add it there with the ids of the
// checks that must notice: "checks strength --fault NAME --all-checks" lists those that do.
package strength
