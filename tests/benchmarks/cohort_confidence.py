"""`make bench-cohort-confidence`: the confidence of a cohort, calibrated and tried.

usage: cohort_confidence.py [SET ...] [--studies N] [--first N] [--out FILE.csv]
       cohort_confidence.py --scores FILE.csv [--doc FILE.md] [--write]

Sets: simulated, and the real ones. Each study is levelled, and its levelled embedding and values
spoilt in memory in ways that go wrong on purpose, little or much: a row each, with the evidence
that a run has without labels, the outcome by labels, and the plain verdict. A table kept with
`--out` is read again by `--scores`. `--write` writes the calibration that levelseq comes with.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("LEVELSEQ_QUIET", "1")

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from cohort_confidence_judged import Study, judged
from cohort_confidence_report import page, shipped
from cohort_confidence_scores import SIMULATED, Judged
from cohort_confidence_studies import REAL, real_studies, simulated_studies
from real import shared_data

from levelseq.errors import BadInput

RESOURCE = Path(__file__).parents[2] / "components/levelseq/validate/confidence.json"


def main() -> None:
    """Measure or read the table, print the figures, and write what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("sets", nargs="*", default=[SIMULATED, *REAL])
    parser.add_argument("--studies", type=int, default=40, help="simulated ones")
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    parser.add_argument("--out", type=Path, help="keep the table here")
    parser.add_argument("--scores", type=Path, nargs="+", help="tables that --out kept")
    parser.add_argument("--doc", type=Path, help="keep the figures here, as Markdown")
    parser.add_argument("--write", action="store_true", help="write the calibration")
    chosen = parser.parse_args()
    if chosen.scores:
        table = pd.concat([pd.read_csv(file) for file in chosen.scores], ignore_index=True)
    else:
        table = measured(_studies(chosen.sets, chosen.studies, chosen.first), chosen.out)
    whole = Judged.of(table)
    text = page(table, whole)
    print(text)
    if chosen.doc:
        chosen.doc.write_text(text, encoding="utf-8")
    if chosen.write:
        content = json.dumps(shipped(whole).to_json(), indent=1)
        RESOURCE.write_text(content + "\n", encoding="utf-8")


def _studies(sets: list[str], count: int, first: int) -> Iterator[Study]:
    for name in sets:
        if name == SIMULATED:
            yield from simulated_studies(count, first)
        else:
            yield from real_studies(shared_data(), name)


def measured(studies: Iterator[Study], out: Path | None) -> pd.DataFrame:
    """A row for each levelling of each study; the table grows study by study."""
    rows = []
    for study in studies:
        start = time.perf_counter()
        try:
            with tempfile.TemporaryDirectory() as folder:
                own = list(judged(study, Path(folder)))
        except BadInput as error:
            print(f"{study.set:18s} {study.name:34s} is left out: {error.message}", flush=True)
            continue
        rows += own
        taken = time.perf_counter() - start
        cells = study.counts.n_obs
        print(
            f"{study.set:18s} {study.name:34s} {cells:5d} {len(own):3d} {taken:4.0f} s", flush=True
        )
        if out:
            pd.DataFrame(rows).to_csv(out, index=False, float_format="%.5g")
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main()
