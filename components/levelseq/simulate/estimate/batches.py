"""Batch effects, from cell lines in five libraries and from three chemistries.

The cell lines' libraries are a tree: two protocols; two experiments of CEL-seq2; three plates of
one experiment. They give each level's share. The chemistries give the size of it all.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd

from levelseq.simulate.estimate.contrasts import Contrast, Group, contrast, group

__all__ = ["from_chemistries", "from_lung_lines"]

_LINES = ("H1975", "H2228", "HCC827")
_DROPSEQ, _CELSEQ = "sc_dropseq", "sc_celseq2"
_PLATES = ("sc_celseq2_5cl_p1", "sc_celseq2_5cl_p2", "sc_celseq2_5cl_p3")
_MIN_COUNTS = 20

Groups = dict[str, list[Group]]


def from_lung_lines(folder: Path) -> dict[str, dict[str, Any]]:
    """Entries of the table that come from `lung_lines/`."""
    groups, genes, depths = _read_lung_lines(folder / "lung_lines")

    def between(a: str, b: str) -> Contrast:
        return contrast(list(zip(groups[a], groups[b])), _MIN_COUNTS)

    plates = [between(a, b) for a, b in combinations(_PLATES, 2)]
    experiments = [between(_CELSEQ, plate) for plate in _PLATES]
    protocols = [between(_DROPSEQ, other) for other in (_CELSEQ, *_PLATES)]
    # A difference of two libraries holds twice the variance of every level at which they part.
    leaf = _mean_shared(plates) / 2
    middle = _mean_shared(experiments) / 2 - leaf
    # Both experiments count alike against the other protocol.
    across = (protocols[0].shared + _mean_shared(protocols[1:])) / 4
    levels = np.array([across - middle - leaf, middle, leaf])
    every = [*experiments, *protocols]
    own = sum(c.own for c in every) / sum(c.shared for c in every)
    return {
        "level_shares": {
            "value": (levels / levels.sum()).tolist(),
            "how": "covariance over three lines of log differences between protocols, experiments "
            "and plates; variance of each level over their sum",
        },
        "lung_lines_sd": {
            "value": float(np.sqrt(levels.sum())),
            "how": "root of that sum; for comparison with batch_sd, not drawn from",
        },
        "interaction": {
            "value": float(own),
            "how": "variance of one line's own difference, less its error, over the shared one",
        },
        "depth_sd": {
            "value": float(np.log(list(depths.values())).std(ddof=1)),
            "how": "sd of the log median library of singlets over the five libraries",
        },
        "protocol_depth": {
            "value": float(np.log(depths[_DROPSEQ] / depths[_CELSEQ])),
            "how": "log median library of Drop-seq over CEL-seq2, same cells",
        },
        **_covariates(folder, genes, protocols),
    }


def _mean_shared(contrasts: list[Contrast]) -> float:
    return float(np.mean([c.shared for c in contrasts]))


def _read_lung_lines(folder: Path) -> tuple[Groups, pd.Index, dict[str, float]]:
    """Groups by library and line over the shared genes; those genes; median libraries."""
    sheet = pd.read_csv(folder / "deposits.csv")
    counts, lines = {}, {}
    for row in sheet.to_dict("records"):
        cells = pd.read_csv(folder / row["metadata"], index_col=0)
        cells = cells[cells["demuxlet_cls"] == "SNG"]
        name = row["library"]
        counts[name] = pd.read_csv(folder / row["address"], index_col=0)[list(cells.index)]
        lines[name] = cells["cell_line_demuxlet"]
    depths = {name: float(np.median(table.sum())) for name, table in counts.items()}
    tables = list(counts.values())
    genes = tables[0].index
    for table in tables[1:]:
        genes = genes.intersection(table.index)
    genes = genes.sort_values()
    groups = {
        name: [group(table.loc[genes, lines[name] == line].to_numpy().T) for line in _LINES]
        for name, table in counts.items()
    }
    return groups, genes, depths


def _covariates(
    folder: Path, genes: pd.Index, protocols: list[Contrast]
) -> dict[str, dict[str, Any]]:
    """GC and length of the genes, and how much of the protocols' difference follows them."""
    known = pd.read_csv(folder / "human_gene_gc_length.csv.gz", index_col="ensembl_id")
    table = known.reindex(genes)[["longest_cdna_gc", "longest_cdna_length"]]
    shares = []
    for one in protocols:
        some = np.isfinite(one.shared_G) & table.notna().all(axis=1).to_numpy()
        ranks = table[some].rank(pct=True).to_numpy() - 0.5
        curves = np.hstack([np.vander(rank, 4)[:, :3] for rank in ranks.T])
        curves = np.column_stack([curves, np.ones(len(curves))])
        fitted = curves @ np.linalg.lstsq(curves, one.shared_G[some], rcond=None)[0]
        shares.append(fitted.var() / one.shared_G[some].var())
    probabilities = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99]
    known_to = f"of the {len(genes)} shared genes; human_gene_gc_length"
    return {
        "smooth_share": {
            "value": float(np.mean(shares)),
            "how": "share of the protocols' difference under cubics of the ranks of cDNA GC and "
            "length; human_gene_gc_length",
        },
        "gc": {
            "probabilities": probabilities,
            "values": table["longest_cdna_gc"].quantile(probabilities).tolist(),
            "how": f"longest cDNA's GC {known_to}",
        },
        "length": {
            "probabilities": probabilities,
            "values": table["longest_cdna_length"].quantile(probabilities).tolist(),
            "how": f"longest cDNA's bases {known_to}",
        },
    }


def from_chemistries(folder: Path) -> dict[str, dict[str, Any]]:
    """Entries of the table that come from `pbmc_chemistries.h5ad`."""
    data = ad.read_h5ad(folder / "pbmc_chemistries.h5ad")
    batches = sorted(data.obs["batch"].unique())
    types = ("T_CD4", "Mono_CD14", "T_CD8", "B")
    groups = {}
    for batch in batches:
        masks = [(data.obs["batch"] == batch) & (data.obs["cell_type"] == t) for t in types]
        groups[batch] = [group(data.X[np.flatnonzero(mask)].toarray()) for mask in masks]
    pairs = [contrast(list(zip(groups[a], groups[b])), 10) for a, b in combinations(batches, 2)]
    return {
        "batch_sd": {
            "value": float(np.sqrt(_mean_shared(pairs) / 2)),
            "how": "covariance over four types of log differences between 3'v1, 3'v2 and 5'; root "
            "of half their mean",
        },
        "composition": {
            "value": _concentration(pd.crosstab(data.obs["batch"], data.obs["cell_type"])),
            "how": "Dirichlet concentration of the type shares over the three batches, by moments",
        },
    }


def _concentration(counts: pd.DataFrame) -> float:
    """The concentration with the shares' variance between rows, less the multinomial one."""
    n_B = counts.sum(axis=1).to_numpy(dtype=np.float64)
    share_BT = counts.to_numpy() / n_B[:, None]
    binomial = (share_BT.mean(axis=0) * (1 - share_BT.mean(axis=0))).sum()
    between = share_BT.var(axis=0, ddof=1).sum() - binomial * (1 / n_B).mean()
    return float(binomial / between - 1)
