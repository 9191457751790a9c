package selftest

func init() {
	addMutant("DET-09", "expects nothing behind the hello", naiveWith(bugs{nothingBehind: true}))
	addMutant("DET-09", "puts what came behind the hello in front of it", naiveWith(bugs{behindFirst: true}))
	addMutant("DET-12", "waits for a ClientHello", naiveWith(bugs{holdsHTTP: true}))
	addMutant("DET-12", "hands it to the default route", naiveWith(bugs{httpToDefault: true}))
	addMutant("DET-15", "waits for ever", naiveWith(bugs{noTimeout: true}))
}
