"""`make bench-confidence`: labels and refusals on batches that a model has not seen.

usage: confidence.py [SET ...]     the sets of bench-real, then `tissues` and `simulated`

Each batch of a set is held out whole: the others are trained on, and it is mapped as an unseen
leaf and once more after the model has been adapted to it. `tissues` maps pancreas through PBMC
models and the other way round, on shared genes; `simulated` maps drifting deposits, and those of
another simulated tissue.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from real import SETS, shared_data
from studies import Built, built, ingested, simulated, verdict_of

from levelseq.cohort import open_cohort, open_normalized
from levelseq.ingest.params import IngestParams
from levelseq.models.adapt import adapt_model
from levelseq.models.calibration import auroc, expected_calibration_error
from levelseq.models.mapping import map_cohort
from levelseq.models.saving import load_model, read_metrics
from levelseq.models.unsupported import unsupported_shares
from levelseq.normalize.params import NormalizeParams
from levelseq.simulate import study
from levelseq.simulate.params import SimulateParams

EVERYTHING = NormalizeParams(most_unsupported=1)
DEFAULT = NormalizeParams().most_unsupported
TISSUES = (
    ("kang_muscat", "pancreas_baron_h1"),
    ("pbmc_chemistries", "pancreas_baron_h1"),
    ("pancreas_baron_h1", "pbmc_chemistries"),
    ("pancreas_baron_h1", "kang_muscat"),
)
STUDIES = 4


def described(name: str) -> tuple[str, IngestParams]:
    """A set's address and columns; kang_muscat by sample, since one of two donors is no tree."""
    address, params = SETS[name]
    if name == "kang_muscat":
        params = params.model_copy(update={"batch": "sample", "condition": ""})
    return address, params


def split(data: Path, name: str, place: Path) -> Iterator[tuple[str, Path, Path]]:
    """For each batch its name, the deposits of all others, and its own."""
    address, params = described(name)
    column = params.batch.split(">")[-1]
    whole: pd.DataFrame | ad.AnnData
    if address.endswith(".csv"):
        table = pd.read_csv(data / address)
        for files in ("address", "metadata"):
            table[files] = [str(data / Path(address).parent / file) for file in table[files]]
        whole, batch, suffix = table, table[column].astype(str), "csv"
    else:
        whole = ad.read_h5ad(data / address)
        batch, suffix = whole.obs[column].astype(str), "h5ad"
    for held in sorted(set(batch)):
        folder = place / held
        folder.mkdir()
        parts = []
        for part, rows in (("rest", batch != held), ("held", batch == held)):
            file = folder / f"{part}.{suffix}"
            chosen = whole[rows.to_numpy()]
            if isinstance(chosen, pd.DataFrame):
                chosen.to_csv(file, index=False)
            else:
                chosen.copy().write_h5ad(file)
            parts.append(file)
        yield held, parts[0], parts[1]


def transferred(cohort: str, model: str, place: Path) -> tuple[np.ndarray, np.ndarray]:
    """Confidence, and whether the label was right, of a cohort's observations."""
    obs = open_normalized(map_cohort(EVERYTHING, cohort, model, str(place))).obs()
    label = open_cohort(cohort).role("label")
    right = obs["label_transferred"].astype(str) == obs[label].astype(str)
    return obs["confidence"].to_numpy(), right.to_numpy()


def shares_of(study_built: Built, cohort: str) -> dict[str, float]:
    """Each batch's share of cells with a low score."""
    return unsupported_shares(load_model(study_built.model), open_cohort(cohort))


def labels_of(name: str, data: Path, ranked: list[float], false_alarms: list[float]) -> None:
    """Print a line for each held-out batch, unseen and adapted."""
    params = described(name)[1]
    with tempfile.TemporaryDirectory() as folder:
        for held, rest, own in split(data, name, Path(folder)):
            place = rest.parent
            study_built = built(place, str(rest), params)
            cohort = ingested(place, str(own), params)
            share = max(shares_of(study_built, cohort).values())
            false_alarms.append(share)
            measured = read_metrics(study_built.model)["labels"]
            for way in ("unseen", "adapted"):
                model = study_built.model
                if way == "adapted":
                    model = adapt_model(model, cohort, str(place))
                confidence, right = transferred(cohort, model, place)
                wrong, area = int((~right).sum()), auroc(confidence, right)
                if wrong >= 20:
                    ranked.append(area)
                print(
                    f"{name:18s} {held:18s} {way:8s} {len(right):5d} {wrong:6d}  "
                    f"{right.mean():.3f}  {expected_calibration_error(confidence, right):.3f}  "
                    f"{area:.3f}  "
                    f"{measured['accuracy']:.3f} {measured['expected_calibration_error']:.3f} "
                    f"{measured['auroc']}  {share:.3f}",
                    flush=True,
                )


def shown(kind: str, study_built: Built, cohort: str) -> list[float]:
    """Print and give the shares of low scores of a cohort's batches."""
    found = shares_of(study_built, cohort)
    line = ", ".join(f"{batch} {share:.3f}" for batch, share in found.items())
    print(f"{kind:44s} {line}", flush=True)
    return list(found.values())


def other_tissues(data: Path) -> list[list[float]]:
    """Deposits of one tissue through the model of another, on the genes that both have."""
    found = []
    for own, other in TISSUES:
        params, theirs = described(own)[1], described(other)[1].batch
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            one, two = (ad.read_h5ad(data / described(name)[0]) for name in (own, other))
            genes = one.var_names[one.var_names.isin(two.var_names)]
            two = two[:, genes].copy()
            two.obs[params.batch] = "other " + two.obs[theirs].astype(str)
            one[:, genes].copy().write_h5ad(place / "one.h5ad")
            two.write_h5ad(place / "two.h5ad")
            study_built = built(place, str(place / "one.h5ad"), params)
            cohort = ingested(place, str(place / "two.h5ad"), params)
            found.append(shown(f"{other} through {own}", study_built, cohort))
    return found


def simulated_tissues() -> tuple[dict[float, list[float]], list[list[float]]]:
    """Shares of later deposits by their drift, and of the deposits of other studies."""
    later: dict[float, list[float]] = {0.0: [], 1.0: [], 2.0: []}
    others = []
    with tempfile.TemporaryDirectory() as folder:
        studies = []
        for seed in range(STUDIES):
            place = Path(folder) / str(seed)
            studies.append(built(place, simulated(place, seed=seed)))
            for drift, shares in later.items():
                for k in range(2):
                    target = place / f"later-{drift}-{k}"
                    params = SimulateParams.checked(
                        seed=seed, later=1, later_seed=100 + k, drift=drift
                    )
                    study.write(params, str(target))
                    cohort = ingested(place, str(target / "later/1/deposits.csv"))
                    shares += shown(f"study {seed}, drift {drift}", studies[seed], cohort)
        for seed, model in enumerate(studies):
            for other in range(STUDIES):
                if other != seed:
                    sheet = Path(folder) / str(other) / "later-0.0-0/later/1/deposits.csv"
                    cohort = ingested(Path(model.workspace), str(sheet))
                    others.append(shown(f"study {other} through {seed}", model, cohort))
    return later, others


def main() -> None:
    """Print the lines, then the bars."""
    asked = sys.argv[1:] or [*SETS, "tissues", "simulated"]
    data, bars = shared_data(), {}
    ranked: list[float] = []
    related: list[float] = []
    print(
        "set                batch              way      cells  wrong  acc.   ECE    AUROC  "
        "at training: acc., ECE, AUROC   score < .05"
    )
    for name in (name for name in asked if name in SETS):
        labels_of(name, data, ranked, related)
    if ranked:
        bars[f"AUROC with 20 wrong labels or more: {min(ranked):.3f} >= .7"] = min(ranked) >= 0.7
    if "tissues" in asked:
        refused = [max(shares) > DEFAULT for shares in other_tissues(data)]
        bars[f"other tissues: {sum(refused)} of {len(refused)} deposits refused"] = all(refused)
    if "simulated" in asked:
        later, others = simulated_tissues()
        related += [*later[0.0], *later[1.0]]
        refused = [max(shares) > DEFAULT for shares in others]
        bars[f"other simulated: {sum(refused)} of {len(refused)} deposits refused"] = all(refused)
        far = sum(share > DEFAULT for share in later[2.0])
        print(f"drift 2: {far} of {len(later[2.0])} refused")
    if related:
        alarms = sum(share > DEFAULT for share in related)
        bars[
            f"related: {alarms} of {len(related)} batches refused, at most {max(related):.2f} "
            "of a batch with low scores"
        ] = alarms == 0
    verdict_of(bars)


if __name__ == "__main__":
    main()
