"""`make bench-qa`, real: sets of which it is known what a verdict must say."""

from __future__ import annotations

import tempfile
from pathlib import Path

from real import SETS, shared_data
from studies import built

from levelseq.ingest.params import IngestParams
from levelseq.validate.evaluate import Evaluation

BULK = IngestParams(batch="batch", condition="condition")
STUDIES = {
    "tb_hiv": ("tb_hiv.h5ad", BULK),
    "gtex_brain": ("gtex_brain.h5ad", BULK),
    **{name: SETS[name] for name in ("pancreas_baron_h1", "kang_muscat", "pbmc_chemistries")},
}


def real_part() -> dict[str, bool | None]:
    """Print a line a set, the reasons below it; gives the bars."""
    shared = shared_data()
    found: dict[str, Evaluation] = {}
    print("set                data     variance  by chance  mixing  to correct  why")
    for name, (address, params) in STUDIES.items():
        with tempfile.TemporaryDirectory() as folder:
            own = built(Path(folder), str(shared / address), params).evaluation()
        found[name], seen = own, own.correction
        mixing = "-" if seen.mixing is None else f"{seen.mixing:.2f}"
        print(
            f"{name:18s} {own.data:8s} {seen.variance.share:8.3f}  {seen.variance.chance:9.3f}  "
            f"{mixing:>6s}  {'yes' if seen.needed else 'nothing':10s}  {own.reasons[0]}",
            flush=True,
        )
        for reason in own.reasons[1:]:
            print(f"{'':70s}{reason}")
        for score, of in own.structure.scores.items():
            print(f"    {score:17s} " + "  ".join(f"{k} {v:.3f}" for k, v in of.items()))
    return _bars(found)


def _bars(found: dict[str, Evaluation]) -> dict[str, bool | None]:
    tb, kang = found["tb_hiv"], found["kang_muscat"]
    named = all(f"'{column}'" in tb.reasons[0] for column in ("condition", "batch"))
    kept = {gate.name: gate for gate in kang.gates}
    stays = [f"signature.{what}" for what in ("correlation", "slope", "sign", "variance_removed")]
    return {
        "tb_hiv: refused, the confounded columns named": tb.data == "refuse" and named,
        **{
            f"{name}: nothing to correct": not found[name].correction.needed
            for name in ("pancreas_baron_h1", "gtex_brain")
        },
        "pbmc_chemistries: something to correct": found["pbmc_chemistries"].correction.needed,
        "kang_muscat: released, stimulation kept": kang.data == "release"
        and all(kept[name].outcome == "pass" for name in stays),
    }
