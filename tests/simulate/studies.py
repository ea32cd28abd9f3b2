"""Studies as a reader sees them: read with pandas, scipy and anndata, not with levelseq."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any, NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
import scipy.io

from levelseq.simulate import SimulateParams
from levelseq.simulate.study import write


class Study(NamedTuple):
    """Counts (cells x genes, NaN where the deposit lacks the gene), cells, sheet and truth."""

    root: Path
    sheet: pd.DataFrame
    counts: pd.DataFrame
    cells: pd.DataFrame
    planted: pd.Series
    batches: dict[str, np.ndarray]

    def bulk(self, which: pd.Series) -> pd.Series:
        """Log counts per gene of some cells, over their sum."""
        sums = self.counts[which].sum() + 0.5
        return np.log(sums / sums.sum())


def read_deposit(root: Path, address: str, metadata: object) -> tuple[pd.DataFrame, pd.DataFrame]:
    if address.endswith(".h5ad"):
        data = ad.read_h5ad(root / address)
        return data.to_df(), data.obs.astype(str)
    cells = pd.read_csv(root / str(metadata), index_col=0)
    if address.endswith(".csv.gz"):
        return pd.read_csv(root / address, index_col=0).T, cells
    folder = root / address
    with gzip.open(folder / "matrix.mtx.gz") as file:
        matrix = scipy.io.mmread(file)
    names = [
        pd.read_csv(folder / name, header=None, sep="\t")[0]
        for name in ("barcodes.tsv.gz", "features.tsv.gz")
    ]
    return pd.DataFrame(matrix.toarray().T, index=names[0], columns=names[1]), cells


def read_study(root: Path) -> Study:
    sheet = pd.read_csv(root / "deposits.csv")
    genes = pd.read_csv(root / "genes.csv")["gene_id"]
    counts, cells = [], []
    for row in sheet.to_dict("records"):
        x, about = read_deposit(root, row.pop("address"), row.pop("metadata"))
        assert list(x.index) == list(about.index)
        leaf = list(row.values())[-1]
        about = about.assign(**row)
        x.index = about.index = pd.Index([f"{leaf}:{barcode}" for barcode in x.index])
        counts.append(x.reindex(columns=genes))
        cells.append(about)
    with np.load(root / "truth" / "batch_effects.npz", allow_pickle=False) as truth:
        batches = dict(truth)
    planted = pd.read_csv(root / "truth" / "planted.csv", index_col="gene")["lfc"]
    return Study(root, sheet, pd.concat(counts), pd.concat(cells), planted, batches)


def draw(root: Path, **options: Any) -> Study:
    write(SimulateParams.checked(**options), str(root))
    return read_study(root)


def files_below(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
