"""Deposits as labs deliver them, written from small arrays."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp

from levelseq.cohort import Cohort, open_cohort
from levelseq.ingest import step
from levelseq.ingest.params import IngestParams


@dataclass
class Lab:
    """Writes deposits of a few cells and genes below a folder.

    `counts` are cells x genes; every method gives the address of what it wrote.
    """

    folder: Path
    genes: list[str] = field(default_factory=lambda: [f"GENE{i}" for i in range(12)])
    barcodes: list[str] = field(default_factory=lambda: [f"W{i:02d}" for i in range(9)])

    def draw(self, seed: int = 0) -> np.ndarray[Any, Any]:
        rng = np.random.default_rng(seed)
        counts = rng.poisson(0.8, (len(self.barcodes), len(self.genes)))
        counts[:, 0] = 1 + seed  # no cell is empty, no two seeds give the same bytes
        return counts

    def table(self, counts: np.ndarray[Any, Any]) -> pd.DataFrame:
        return pd.DataFrame(counts.T, index=self.genes, columns=self.barcodes)

    def write(self, name: str, text: str) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return str(path)

    def csv(self, name: str, counts: np.ndarray[Any, Any], sep: str = ",") -> str:
        return self.write(name, self.table(counts).to_csv(sep=sep))

    def r_csv(self, name: str, counts: np.ndarray[Any, Any]) -> str:
        """As R's `write.table(quote=TRUE, sep=",")`: the header is one field short."""
        header = ",".join(f'"{barcode}"' for barcode in self.barcodes)
        rows = [f'"{g}",' + ",".join(map(str, row)) for g, row in zip(self.genes, counts.T)]
        return self.write(name, "\n".join([header, *rows]) + "\n")

    def h5ad(self, name: str, counts: Any, **parts: Any) -> str:
        data = ad.AnnData(
            X=counts,
            obs=parts.pop("obs", pd.DataFrame(index=self.barcodes)),
            var=pd.DataFrame(index=self.genes),
            **parts,
        )
        data.write_h5ad(self.folder / name)
        return str(self.folder / name)

    def tenx_mtx(self, name: str, counts: np.ndarray[Any, Any], gz: bool = True) -> str:
        folder = self.folder / name
        folder.mkdir(parents=True)
        end = ".gz" if gz else ""
        scipy.io.mmwrite(folder / "matrix.mtx", sp.coo_matrix(counts.T), field="integer")
        self.write(f"{name}/matrix.mtx{end}", (folder / "matrix.mtx").read_text())
        if gz:
            (folder / "matrix.mtx").unlink()
        rows = [f"{g}\t{g}" + ("\tGene Expression" if gz else "") for g in self.genes]
        features = "features.tsv.gz" if gz else "genes.tsv"
        self.write(f"{name}/{features}", "\n".join(rows) + "\n")
        self.write(f"{name}/barcodes.tsv{end}", "\n".join(self.barcodes) + "\n")
        return str(folder)

    def tenx_h5(self, name: str, counts: np.ndarray[Any, Any], version: int = 3) -> str:
        matrix = sp.csc_matrix(counts.T)
        with h5py.File(self.folder / name, "w") as file:
            group = file.create_group("matrix" if version == 3 else "GRCh38")
            for part in ("data", "indices", "indptr"):
                group[part] = getattr(matrix, part)
            group["shape"] = np.array(matrix.shape)
            group["barcodes"] = np.array(self.barcodes, dtype="S")
            if version == 3:
                group["features/id"] = np.array(self.genes, dtype="S")
                kinds = np.array(["Gene Expression"] * len(self.genes), dtype="S")
                group["features/feature_type"] = kinds
            else:
                group["genes"] = np.array(self.genes, dtype="S")
        return str(self.folder / name)

    def sheet(self, rows: list[dict[str, str]], name: str = "deposits.csv") -> str:
        return self.write(name, pd.DataFrame(rows).to_csv(index=False))


@dataclass
class Ingesting:
    """Plan and ingest into one workspace."""

    workspace: str

    def __call__(self, deposits: list[str], **choices: Any) -> Cohort:
        params = IngestParams.checked(**choices)
        return open_cohort(step.run_deposits(params, deposits, self.workspace))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    folder = tmp_path / "lab"
    folder.mkdir()
    return Lab(folder)


@pytest.fixture
def ingest(tmp_path: Path) -> Ingesting:
    return Ingesting(str(tmp_path / "workspace"))


@pytest.fixture
def dense() -> Callable[[Cohort], np.ndarray[Any, Any]]:
    """The cohort's counts, cells x genes."""

    def stack(cohort: Cohort) -> np.ndarray[Any, Any]:
        return np.vstack([shard.X.toarray() for shard in cohort.shards()])

    return stack


@pytest.fixture
def files() -> Callable[[str], dict[str, bytes]]:
    """Every file below a folder with its bytes."""

    def read(folder: str) -> dict[str, bytes]:
        root = Path(folder)
        found = [path for path in sorted(root.rglob("*")) if path.is_file()]
        return {str(path.relative_to(root)): path.read_bytes() for path in found}

    return read
