"""A study of two multiplexed libraries and one donor's own, ingested by the real steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from levelseq.cohort import manifest_json, open_cohort
from levelseq.ingest import step
from levelseq.ingest.params import IngestParams
from levelseq.registry import Registry
from levelseq.store import join, open_store

CHOICES = {"batch": "site", "donor": "donor", "label": "type"}
# Found in a file only where somebody has written them there.
DONORS = ("PT-zq81", "PT-xw47", "PT-vk03")


@dataclass
class Study:
    """Deposits on a disk and a workspace; `sheet` lists all of them."""

    folder: Path
    workspace: str
    rows: list[dict[str, str]] = field(default_factory=list)

    def deposit(self, name: str, site: str, donors: list[str], seed: int) -> None:
        """A count table of 40 cells with its metadata; donors take turns."""
        rng = np.random.default_rng(seed)
        cells = [f"{name}c{i:03d}" for i in range(40)]
        genes = [f"GENE{i}" for i in range(30)]
        counts = pd.DataFrame(rng.poisson(2.0, (30, 40)), index=genes, columns=cells)
        counts.to_csv(self.folder / f"{name}.csv")
        about = pd.DataFrame(
            {
                "donor": [donors[i % len(donors)] for i in range(40)],
                "type": [f"t{i % 3}" for i in range(40)],
            },
            index=pd.Index(cells, name="barcode"),
        )
        about.to_csv(self.folder / f"{name}.meta.csv")
        self.rows.append({"address": f"{name}.csv", "metadata": f"{name}.meta.csv", "site": site})

    def sheet(self, *names: str) -> str:
        """A sheet of these deposits, or of all."""
        listed = [r for r in self.rows if not names or r["address"].removesuffix(".csv") in names]
        path = self.folder / f"sheet{'-'.join(names)}.csv"
        pd.DataFrame(listed).to_csv(path, index=False)
        return str(path)

    def ingest(self, *names: str, **choices: object) -> str:
        """The address of the cohort of some deposits."""
        params = IngestParams.checked(**{**CHOICES, **choices})
        return step.run_deposits(params, [self.sheet(*names)], self.workspace)

    def model(self, key: str, cohort: str, parent: str | None = None) -> str:
        """A model's manifest: withdrawal reads nothing else of a model."""
        content = {"key": key, "cohort": cohort.rpartition("/")[2], "parent": parent}
        open_store(join(self.workspace, "models", key)).put("model.json", manifest_json(content))
        return key

    def promote(self, model: str, run: str, cohort: str, name: str = "study") -> None:
        """Make a model champion, with the verdict of its run and a baseline."""
        verdict = {"cohort": cohort.rpartition("/")[2], "model": model}
        open_store(join(self.workspace, "runs", run)).put("verdict.json", manifest_json(verdict))
        baseline = manifest_json({**verdict, "run": run, "gates": {}})
        store = open_store(join(self.workspace, "baselines", name))
        store.put(f"{verdict['cohort']}.json", baseline)
        Registry(self.workspace, name).promote(model, run, ["it passes"])

    def left(self) -> dict[str, bytes]:
        """Every object of the workspace."""
        store = open_store(self.workspace)
        return {path: store.get(path) for path in store.list()}


def donors_of(cohort: str) -> set[str]:
    return set(open_cohort(cohort).obs()["donor"].astype(str))
