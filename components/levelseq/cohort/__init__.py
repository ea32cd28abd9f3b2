"""The on-store format of cohorts and normalized values."""

from levelseq.cohort.batch_tree import ROOT, BatchTree, parse_levels
from levelseq.cohort.classical_way import why_classical
from levelseq.cohort.cohort import (
    UNKNOWN,
    Cohort,
    Normalized,
    open_cohort,
    open_normalized,
    read_manifest,
)
from levelseq.cohort.keys import canonical_json, content_key, manifest_json
from levelseq.cohort.parts import WHOLE, Part, parts_of
from levelseq.cohort.shards import (
    SHARD_COUNTS,
    SHARD_OBSERVATIONS,
    ShardReader,
    found_shard,
    kept_shard,
    shard_path,
    write_shard,
)

__all__ = [
    "ROOT",
    "SHARD_COUNTS",
    "SHARD_OBSERVATIONS",
    "UNKNOWN",
    "WHOLE",
    "BatchTree",
    "Cohort",
    "Normalized",
    "Part",
    "ShardReader",
    "canonical_json",
    "content_key",
    "found_shard",
    "kept_shard",
    "manifest_json",
    "open_cohort",
    "open_normalized",
    "parse_levels",
    "parts_of",
    "read_manifest",
    "shard_path",
    "why_classical",
    "write_shard",
]
