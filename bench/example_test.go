package bench_test

import (
	"fmt"

	"github.com/tlsroute/tlsroute-bench/bench"
)

func ExampleCheckLimits() {
	fmt.Println(bench.CheckLimits([]string{"errors == 0", "direct.connect.p50 < 50ms"}, "direct", "alb-https"))
	fmt.Println(bench.CheckLimits([]string{"direct.connect.p50 < 50"}))
	// Output:
	// <nil>
	// limit "direct.connect.p50 < 50", column 20: compares a time with a plain number: a time needs a unit, such as 50ms
}
