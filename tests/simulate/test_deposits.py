"""The files: formats as labs deliver them, the same bytes for the same seed, whole or absent."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from levelseq.errors import BadOption
from levelseq.simulate import SimulateParams
from levelseq.simulate.study import write
from levelseq.store import open_store

from .studies import Study, files_below

SMALL = SimulateParams(cells=240, genes=300, condition_genes=20)


def test_one_deposit_a_run_in_three_formats(default_study: Study) -> None:
    sheet = default_study.sheet
    assert list(sheet.columns) == ["address", "metadata", "site", "lab", "run"]
    assert len(sheet) == 8
    ends = {Path(address).suffix for address in sheet["address"]}
    assert ends == {".gz", ".h5ad", ""}
    assert default_study.counts.shape == (3000, 1500)
    assert (default_study.cells["run"].value_counts() >= 20).all()
    assert (sheet.groupby("run").size() == 1).all()


def test_csv_headers_are_one_field_short_as_r_writes_them(default_study: Study) -> None:
    row = default_study.sheet.iloc[0]
    for name in (row["address"], row["metadata"]):
        lines = gzip.decompress((default_study.root / name).read_bytes()).decode().splitlines()
        assert lines[1].count(",") == lines[0].count(",") + 1


def test_counts_are_counts(default_study: Study) -> None:
    x = default_study.counts.to_numpy()
    known = x[np.isfinite(x)]
    assert (known >= 0).all()
    assert (known == known.round()).all()
    assert 0.5 < (known == 0).mean() < 0.9
    assert (default_study.counts.sum(axis=1) > 0).all()


def test_barcodes_recur_across_deposits_and_not_inside_one(default_study: Study) -> None:
    ids = default_study.cells.index
    assert ids.is_unique
    barcodes = ids.str.split(":").str[1]
    assert barcodes.str.fullmatch("[ACGT]{16}-1").all()
    assert (barcodes.value_counts() > 1).mean() > 0.5


def test_one_deposit_lacks_a_few_scarce_genes_that_are_not_planted(default_study: Study) -> None:
    lacking = default_study.counts.isna().groupby(default_study.cells["run"]).all()
    assert (lacking.any(axis=1)).sum() == 1
    absent = lacking.columns[lacking.any()]
    assert 0.01 <= len(absent) / 1500 <= 0.02
    assert not set(absent) & set(default_study.planted.index)
    with np.load(default_study.root / "truth" / "biology.npz") as biology:
        base = pd.Series(biology["base"], index=biology["gene"])
    assert base[absent].max() <= base.quantile(0.25)


def test_the_truth_names_every_cell(default_study: Study) -> None:
    truth = pd.read_csv(default_study.root / "truth" / "cells.csv.gz", index_col="cell")
    assert len(truth) == 3000
    columns = ["donor", "condition", "cell_type"]
    assert truth.loc[default_study.cells.index, columns].equals(default_study.cells[columns])
    assert set(truth["cell_type"]) == {f"type{i}" for i in range(1, 7)}
    assert set(truth["donor"]) == {f"donor{i}" for i in range(1, 9)}


def test_the_gene_table_has_the_columns_that_genes_reads(default_study: Study) -> None:
    genes = pd.read_csv(default_study.root / "genes.csv")
    assert list(genes.columns) == ["gene_id", "symbol", "gc", "length"]
    assert len(genes) == 1500
    assert genes["gc"].between(0.2, 0.8).all()
    assert (genes["length"] > 100).all()


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    write(SMALL, str(tmp_path / "a"))
    time.sleep(1.1)  # formats keep times in whole seconds
    write(SMALL, str(tmp_path / "b"))
    write(SMALL.model_copy(update={"seed": 1}), str(tmp_path / "c"))
    a, b, c = (files_below(tmp_path / name) for name in "abc")
    assert len(a) == 27
    assert a == b
    assert a["deposits/run3.h5ad"] != c["deposits/run3.h5ad"]
    assert a["deposits/run1.count.csv.gz"] != c["deposits/run1.count.csv.gz"]


def test_the_study_goes_to_any_address(tmp_path: Path, s3: str) -> None:
    write(SMALL, str(tmp_path))
    local = files_below(tmp_path)
    for address in ("memory://simulated/study", f"{s3}/study"):
        assert write(SMALL, address) == f"{address}/deposits.csv"
        store = open_store(address)
        assert {path: store.get(path) for path in store.list()} == local


def test_a_study_that_is_there_is_left_and_a_broken_one_is_finished(tmp_path: Path) -> None:
    address = write(SMALL, str(tmp_path))
    whole = files_below(tmp_path)
    (tmp_path / "deposits.csv").unlink()
    (tmp_path / "deposits" / "run3.h5ad").unlink()
    assert write(SMALL, str(tmp_path)) == address
    assert files_below(tmp_path) == whole
    stamp = (tmp_path / "deposits.csv").stat().st_mtime_ns
    write(SMALL, str(tmp_path))
    assert (tmp_path / "deposits.csv").stat().st_mtime_ns == stamp


def test_another_study_is_not_written_over(tmp_path: Path) -> None:
    write(SMALL, str(tmp_path))
    before = files_below(tmp_path)
    with pytest.raises(BadOption, match="holds another study"):
        write(SMALL.model_copy(update={"seed": 5}), str(tmp_path))
    assert files_below(tmp_path) == before
