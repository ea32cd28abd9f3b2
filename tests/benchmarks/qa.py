"""`make bench-qa`: what quality assurance decides, where the answer is known.

usage: qa.py [N] [--part real|overcorrected|drift ...]

- real: sets of which it is known what a verdict must say.
- overcorrected: embeddings and values that were over-corrected on purpose; all must be refused.
- drift: N simulated runs that drifted (20): what recalibration mends, by which rung, at what cost.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("LEVELSEQ_QUIET", "1")

from bars import end_with
from qa_drift import drift_part
from qa_overcorrected import overcorrected_part
from qa_real import real_part

PARTS = ("real", "overcorrected", "drift")


def main() -> None:
    """Print the tables of the parts asked for, then the bars."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("n", nargs="?", type=int, default=20, metavar="N")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS)
    chosen = parser.parse_args()
    bars: dict[str, bool | None] = {}
    if "real" in chosen.part:
        bars |= real_part()
    if "overcorrected" in chosen.part:
        bars |= overcorrected_part()
    if "drift" in chosen.part:
        bars |= drift_part(chosen.n)
    end_with(bars)


if __name__ == "__main__":
    main()
