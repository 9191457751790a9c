package reports

import "github.com/tlsroute/tlsroute-bench/internal/result"

// shardView is the processes that sent the load, and whether they were of one plan and one program.
type shardView struct {
	Rows     []shardRow
	Plan     string // the hash that all have; empty when they differ
	Binary   string
	Excluded bool
}

type shardRow struct {
	result.Shard
	Offset string
}

func newShardView(list []result.Shard) *shardView {
	if len(list) == 0 {
		return nil
	}
	v := &shardView{Plan: list[0].PlanSHA256, Binary: list[0].BinarySHA256}
	for _, s := range list {
		if s.PlanSHA256 != v.Plan {
			v.Plan = ""
		}
		if s.BinarySHA256 != v.Binary {
			v.Binary = ""
		}
		v.Excluded = v.Excluded || s.Excluded > 0
		v.Rows = append(v.Rows, shardRow{s, signed(s.OffsetNS)})
	}
	return v
}
