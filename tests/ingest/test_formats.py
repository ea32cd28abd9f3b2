"""One study in every format a lab may deliver gives the same cohort."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

WRITERS = {
    "csv": lambda lab, x: lab.csv("d.csv", x),
    "csv.gz": lambda lab, x: lab.csv("d.csv.gz", x),
    "tsv": lambda lab, x: lab.csv("d.tsv", x, sep="\t"),
    "R csv": lambda lab, x: lab.r_csv("d.csv.gz", x),
    "gzip without saying so": lambda lab, x: str(
        Path(lab.csv("d.csv.gz", x)).rename(lab.folder / "d.csv")
    ),
    "h5ad csr": lambda lab, x: lab.h5ad("d.h5ad", sp.csr_matrix(x)),
    "h5ad csc": lambda lab, x: lab.h5ad("d.h5ad", sp.csc_matrix(x)),
    "h5ad dense float": lambda lab, x: lab.h5ad("d.h5ad", x.astype(np.float32)),
    "h5ad counts in a layer": lambda lab, x: lab.h5ad(
        "d.h5ad", np.log1p(x), layers={"counts": sp.csr_matrix(x.astype(float))}
    ),
    "10x folder": lambda lab, x: lab.tenx_mtx("d", x),
    "10x folder of version 2": lambda lab, x: lab.tenx_mtx("d", x, gz=False),
    "10x h5": lambda lab, x: lab.tenx_h5("d.h5", x),
    "10x h5 of version 2": lambda lab, x: lab.tenx_h5("d.h5", x, version=2),
}


@pytest.mark.parametrize("form", WRITERS)
def test_every_format_gives_the_same_cohort(form, lab, ingest, dense) -> None:
    counts = lab.draw()
    cohort = ingest([WRITERS[form](lab, counts)])
    order = np.argsort(lab.genes)
    assert list(cohort.obs().index) == [f"d:{barcode}" for barcode in lab.barcodes]
    assert list(cohort.var().index) == sorted(lab.genes)
    assert np.array_equal(dense(cohort), counts[:, order])
    assert cohort.manifest["dtype"] == "uint8"
    assert counts.sum() > 0
    # The digest is the same in all formats, so it is a constant of `lab.draw`.
    lab.folder = lab.folder / "reference"
    lab.folder.mkdir()
    reference = ingest([lab.csv("d.csv", counts)])
    digests = [[s["sha256"] for s in c.manifest["shards"]] for c in (cohort, reference)]
    assert digests[0] == digests[1]


def test_counts_in_raw_have_their_own_genes(lab, ingest, dense, capsys) -> None:
    counts = lab.draw()
    full = pd.DataFrame(index=lab.genes)
    import anndata as ad

    raw = ad.AnnData(sp.csr_matrix(counts.astype(float)), pd.DataFrame(index=lab.barcodes), full)
    few = ad.AnnData(np.log1p(counts[:, :3]), raw.obs, full.iloc[:3])
    few.raw = raw
    few.write_h5ad(lab.folder / "d.h5ad")
    cohort = ingest([str(lab.folder / "d.h5ad")])
    assert cohort.manifest["n_vars"] == len(lab.genes)
    assert dense(cohort).sum() == counts.sum()
    assert "X holds no counts" in capsys.readouterr().err


def test_more_cells_than_a_bucket_or_a_shard_hold(lab, ingest, dense) -> None:
    """Gene by gene (csv) and cell by cell (h5ad), across deposits, shards are full but the last."""
    counts = {}
    for name, seed in (("a", 1), ("b", 2)):
        lab.barcodes = [f"C{i}" for i in range(9000)]
        counts[name] = lab.draw(seed)
    deposits = [lab.csv("a.csv", counts["a"]), lab.h5ad("b.h5ad", sp.csr_matrix(counts["b"]))]
    cohort = ingest(deposits, batch="deposit")
    assert [shard["n_obs"] for shard in cohort.manifest["shards"]] == [16384, 1616]
    order = np.argsort(lab.genes)
    assert np.array_equal(dense(cohort), np.vstack([counts["a"], counts["b"]])[:, order])
    obs = cohort.obs()
    assert obs.index.is_unique
    assert obs["deposit"].value_counts().to_dict() == {"a": 9000, "b": 9000}


def test_features_that_are_not_genes_are_left_out(lab, ingest, dense, capsys) -> None:
    counts = lab.draw()
    folder = lab.tenx_mtx("d", counts)
    kinds = ["Antibody Capture" if i % 3 == 0 else "Gene Expression" for i in range(12)]
    rows = [f"{gene}\t{gene}\t{kind}" for gene, kind in zip(lab.genes, kinds)]
    lab.write("d/features.tsv.gz", "\n".join(rows))
    cohort = ingest([folder])
    kept = [i for i in range(12) if i % 3]
    assert set(cohort.var().index) == {lab.genes[i] for i in kept}
    assert dense(cohort).sum() == counts[:, kept].sum() > 0
    assert "features other than genes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("largest", "dtype"),
    [(255, "uint8"), (256, "uint16"), (70_000, "uint32"), (4_000_000_000, "uint32")],
)
def test_counts_have_the_smallest_dtype_of_the_cohort(lab, ingest, dense, largest, dtype) -> None:
    small, large = lab.draw(0), lab.draw(1)
    large[2, 3] = largest
    cohort = ingest([lab.csv("a.csv", small), lab.csv("b.csv", large)])
    assert cohort.manifest["dtype"] == dtype
    assert {str(shard.X.dtype) for shard in cohort.shards()} == {dtype}
    assert dense(cohort).max() == largest
