package selftest

func init() {
	addMutant("DET-01", "takes every opener for TLS", naiveWith(bugs{noHTTP: true}))
	addMutant("DET-02", "decides on the first segment", naiveWith(bugs{firstSegment: true}))
	addMutant("DET-03", "gives up after ten reads", naiveWith(bugs{impatient: 10}))
	addMutant("DET-03", "decides on the first segment", naiveWith(bugs{firstSegment: true}))
	addMutant("DET-04", "decides on the first record", naiveWith(bugs{firstRecord: true}))
	addMutant("DET-04", "replays records of its own making", naiveWith(bugs{reframe: true}))
	addMutant("DET-05", "default policy for a split hello", naiveWith(bugs{firstRecord: true}))
	addMutant("DET-06", "decides on the first segment", naiveWith(bugs{firstSegment: true}))
	addMutant("DET-07", "peeks 4096 bytes", naiveWith(bugs{buffer: 4096}))
	addMutant("DET-08", "insists on TLS 1.0 in the record header", naiveWith(bugs{oldVersionOnly: true}))
	addMutant("DET-10", "takes records of any length", naiveWith(bugs{longRecords: true}))
	addMutant("DET-10", "leaves the connection open", naiveWith(bugs{keepOpen: true}))
	addMutant("DET-10", "closes without an alert", naiveWith(bugs{silent: true}))
	addMutant("DET-11", "passes over odd records", naiveWith(bugs{skipOddRecords: true}))
	addMutant("DET-13", "waits for ever", naiveWith(bugs{noTimeout: true}))
	addMutant("DET-13", "waits too short", naiveWith(bugs{shortTimeout: true}))
	addMutant("DET-14", "replays records of its own making", naiveWith(bugs{reframe: true}))
	addMutant("DET-14", "rewrites the record version on the way to the backend", behind("pass", recordVersion, nil))
}
