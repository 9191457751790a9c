#!/bin/sh
# Puts our router to its MUST checks through its adapter again and again: "tools/steady.sh 100 DIR". The verdict of each check on each
# path has to be that of the first run, and none FLAKY. Prints a line a run, and each difference; keeps the reports of runs that differ.
# Exit status 1 says that there was one; 2 that a run left no report.
set -eu
runs=${1:?how many runs} dir=${2:?where the reports go}
case $runs in *[!0-9]* | '' | 0) echo "steady: $runs is no number of runs" >&2; exit 2 ;; esac
mkdir -p "$dir"
verdicts='.conformance.results[] | "\(.check) [\(.path)] \(.verdict)"'
odd=0 i=0
while [ "$i" -lt "$runs" ]; do
	i=$((i + 1)) out=$dir/$i began=$(date +%s%N)
	rm -rf "$out"
	status=0
	tlsroute-bench run alb --target router=conformance/targets/tlsroute-router.yaml --level MUST --quiet --out "$out" >"$dir/said" 2>&1 || status=$?
	took=$((($(date +%s%N) - began) / 1000000))
	jq -er "$verdicts" "$out/report.json" >"$dir/now" || { echo "steady: run $i left no verdicts, status $status" >&2; cat "$dir/said" >&2; exit 2; }
	[ "$i" -gt 1 ] || cp "$dir/now" "$dir/first"
	printf 'run %d of %d: %d.%03d s, %s\n' "$i" "$runs" $((took / 1000)) $((took % 1000)) \
		"$(jq -r '[.conformance.totals | to_entries[] | "\(.value) \(.key)"] | sort | join(", ")' "$out/report.json")"
	same=yes
	diff "$dir/first" "$dir/now" || same=no
	jq -e '[.conformance.results[] | select(.verdict == "FLAKY") | "\(.check) [\(.path)] \(.detail)"] | if . == [] then empty else .[] end' -r "$out/report.json" && same=no
	if [ "$status" -ne 0 ]; then
		echo "status $status"
		same=no
	fi
	if [ $same = no ]; then odd=$((odd + 1)); elif [ "$i" -gt 1 ]; then rm -rf "$out"; fi
done
echo "$runs runs, $odd of them with a FLAKY, a failure or another verdict than the first"
[ "$odd" -eq 0 ]
