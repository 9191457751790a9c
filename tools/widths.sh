#!/bin/sh
# How narrow are the intervals at the default length? Runs scenario latency with one path as both arms, and prints the half-width of the 95
# per cent interval of every ratio, in per cent of the ratio: "tools/widths.sh DIR [FLAG...]", the flags being run's. Exit status 1 says that
# one is wider than asked for (2 for p50, 5 for p99), 2 that the run left no comparison.
set -eu
dir=${1:?where the report goes}
shift
status=0
tlsroute-bench run latency --no-conformance --quiet --out "$dir" --set 'bench.again={direct-again: direct}' --set 'bench.arms=[direct,direct-again]' "$@" >"$dir.said" 2>&1 || status=$?
[ "$status" -eq 0 ] || echo "widths: the run ended with status $status; what it said is in $dir.said" >&2
jq -er '
  [.bench.workloads[] | . as $w | (.comparisons // [])[] | select(.metric | test("steady_rtt[.]p(50|99)$"))
    | {of: "\($w.name) at \((($w.load.fraction // 0) * 100) | round) %", p: (.metric | split(".")[1]), pairs, stopped: $w.stopped_by,
       half: (100 * (.ci95[1] - .ci95[0]) / 2 / .ratio)}
    | .asked = (if .p == "p50" then 2 else 5 end)]
  | if length == 0 then error("no comparison") else . end
  | (.[] | "\(.of), \(.p): ± \(.half * 100 | round / 100) %, asked ± \(.asked) %, \(.pairs) pairs, ended by \(.stopped)"),
    (if any(.half > .asked) then "too wide" else "all as narrow as asked" end)' "$dir/report.json" >"$dir.widths" || { echo "widths: no comparison in $dir/report.json; what the run said is in $dir.said" >&2; exit 2; }
cat "$dir.widths"
! grep -qx 'too wide' "$dir.widths"
