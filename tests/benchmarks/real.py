"""`make bench-real`: real sets with known truth, levelled without labels, scored with them.

usage: real.py [SET ...] [--model-class vae,gan,scgen] [--seeds N]

Sets: lung_lines (the bar, for the VAE), pbmc_chemistries, pancreas_baron_h1, kang_muscat.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from itertools import product
from pathlib import Path

from studies import built

from levelseq.ingest.params import IngestParams

SETS = {
    "lung_lines": (
        "lung_lines/deposits.csv",
        IngestParams(
            batch="protocol>library", label="cell_line_demuxlet", keep=["demuxlet_cls==SNG"]
        ),
    ),
    "pbmc_chemistries": (
        "pbmc_chemistries.h5ad",
        IngestParams(batch="protocol", label="cell_type"),
    ),
    "pancreas_baron_h1": (
        "pancreas_baron_h1.h5ad",
        IngestParams(batch="batch", label="cell_type"),
    ),
    "kang_muscat": (
        "kang_muscat.h5ad",
        IngestParams(batch="donor", label="cell_type", condition="condition"),
    ),
}
SEEDS = 3


def shared_data() -> Path:
    """The folder of the real sets; without it the process ends."""
    shared = Path(os.environ.get("SHARED", Path(__file__).parents[3] / "shared")) / "data"
    if not shared.is_dir():
        sys.exit(f"{shared}: the real sets are not here (set SHARED to their parent folder)")
    return shared


def main() -> None:
    """Print a line a set, model class and seed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sets", nargs="*", default=list(SETS))
    parser.add_argument("--model-class", default="vae")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    chosen = parser.parse_args()
    shared = shared_data()
    print(
        "set                class  seed  levelseq   bio  batch  unintegrated  ComBat  kept"
        "  weakest  data"
    )
    for name in chosen.sets:
        address, params = SETS[name]
        for kind, seed in product(chosen.model_class.split(","), range(chosen.seeds)):
            with tempfile.TemporaryDirectory() as folder:
                study = built(Path(folder), str(shared / address), params, seed, kind)
                found = study.evaluation()
            scores, gates = found.scores, {gate.name: gate for gate in found.gates}
            kept, weakest = (
                gates[f"conservation.{what}"].value for what in ("neighbours_kept", "weakest_group")
            )
            print(
                f"{name:18s} {kind:5s} {seed:5d}  {scores['scib_total']:8.3f}  "
                f"{scores['scib_bio']:.3f}  {scores['scib_batch']:.3f}  "
                f"{scores['unintegrated_scib_total']:12.3f}  {scores['combat_scib_total']:6.3f}  "
                f"{kept:.2f}  {weakest:7.2f}  {found.data}",
                flush=True,
            )


if __name__ == "__main__":
    main()
