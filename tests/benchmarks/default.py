"""`make bench-default`: the default study over 20 seeds, and the same without batch effects.

usage: default.py [SEEDS] [FIRST]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from studies import built, kept_and_false_genes, planted_signature, simulated, verdict_of


def main() -> None:
    """Print a line a seed, then the bars."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    print(
        "seed  scIB levelseq  unintegrated  ComBat   planted r  slope  batch R2 before  after  "
        "| no batches: kept  false genes"
    )
    wins = kept = clean = signature = 0
    for seed in range(first, first + seeds):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            study = built(place / "a", simulated(place / "a", seed=seed))
            scores = study.evaluation().scores
            own, before, combat = (
                float(scores[f"{m}scib_total"]) for m in ("", "unintegrated_", "combat_")
            )
            found = planted_signature(study)
            plain = built(place / "b", simulated(place / "b", seed=seed, batch_sd=0.0))
            neighbours, false = kept_and_false_genes(plain)
        down = 1 - found.batch_r2_after / found.batch_r2_before
        wins += own > max(before, combat)
        signature += found.correlation >= 0.95 and 0.8 <= found.slope <= 1.2 and down >= 0.8
        kept += neighbours >= 0.9
        clean += false == 0
        print(
            f"{seed:4d}  {own:13.3f}  {before:12.3f}  {combat:6.3f}   {found.correlation:9.3f}  "
            f"{found.slope:5.2f}  {found.batch_r2_before:15.3f}  {found.batch_r2_after:5.3f}  "
            f"|             {neighbours:4.2f}  {false:11d}",
            flush=True,
        )
    least = round(0.9 * seeds)
    verdict_of(
        {
            f"scIB total above unintegrated and ComBat in {wins} of {seeds}": wins >= least,
            f"signature kept and batch R2 down by 80 % in {signature} of {seeds}": signature
            == seeds,
            f"no batch effects: neighbours kept >= .9 in {kept} of {seeds}": kept == seeds,
            f"no batch effects: no gene made significant in {clean} of {seeds}": clean == seeds,
        }
    )


if __name__ == "__main__":
    main()
