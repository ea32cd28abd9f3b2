"""What is not a cohort of counts is refused: one line with the place and the way out."""

from __future__ import annotations

import gzip
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from levelseq.errors import BadInput
from levelseq.ingest import plan, step
from levelseq.ingest.params import IngestParams
from levelseq_pipelines.cli import main


def _with(lab, value, seed=0):
    counts = lab.draw(seed).astype(float)
    counts[4, 2] = value
    return counts


METADATA = "barcode,type\n" + "".join(f"W{i:02d},T\n" for i in range(9))


def _sheet(lab, metadata=METADATA, **study):
    lab.csv("a.csv", lab.draw())
    lab.write("a.meta.csv", metadata)
    return lab.sheet([{"address": "a.csv", "metadata": "a.meta.csv", **study}])


def _cut(path: str, part: float = 0.6) -> str:
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: int(len(content) * part)])
    return path


def _mtx(lab, change) -> str:
    folder = lab.tenx_mtx("d", lab.draw())
    path = Path(folder) / "matrix.mtx.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    change(lines)
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    return folder


def _declare(n):
    def change(lines):
        at = next(i for i, line in enumerate(lines) if not line.startswith("%"))
        rows, columns, entries = map(int, lines[at].split())
        lines[at] = f"{rows} {columns} {entries + n}"

    return change


def _last(text):
    def change(lines):
        lines[-1] = text

    return change


def _twice(lab):
    lab.barcodes[5] = lab.barcodes[1]
    return lab


def _genes(lab, *names):
    lab.genes[2 : 2 + len(names)] = names
    return lab


def _h5ad(lab, counts):
    obs = pd.DataFrame({"batch": "b", "kind": "k"}, index=lab.barcodes)
    return lab.h5ad("d.h5ad", counts, obs=obs)


def _lying_indptr(lab):
    path = lab.h5ad("d.h5ad", sp.csr_matrix(lab.draw()))
    with h5py.File(path, "r+") as file:
        file["X/indptr"][-1] += 5
    return path


def _bytes(lab, content):
    (lab.folder / "d.csv").write_bytes(content)
    return str(lab.folder / "d.csv")


def _disjoint(lab):
    first = lab.csv("a.csv", lab.draw())
    lab.genes = [f"OTHER{i}" for i in range(12)]
    return [first, lab.csv("b.csv", lab.draw(1))]


# name: (deposits, choices, words of the line: file; column, sample or cell; way out)
CASES = {
    "fraction csv": (lambda lab: lab.csv("d.csv", _with(lab, 1.5)), {},
                     ["d.csv", "GENE2", "cell 5", "1.5 is not a whole number", "raw counts"]),
    "negative csv": (lambda lab: lab.csv("d.csv", _with(lab, -1)), {},
                     ["d.csv", "GENE2", "cell 5", "negative", "raw counts"]),
    "empty field csv": (lambda lab: lab.csv("d.csv", _with(lab, np.nan)), {},
                        ["d.csv", "GENE2", "cell 5", "NaN", "give 0"]),
    "text csv": (lambda lab: lab.write("d.csv", "x,W1,W2\nG1,1,2\nG2,1,many\n"), {},
                 ["d.csv", "'many'", "G2", "cell 2", "genes in rows"]),
    "short row csv": (lambda lab: lab.write("d.csv", "x,W1,W2\nG1,1,2\nG2,1\n"), {},
                      ["d.csv", "G2", "1 values for 2 cells", "one value a cell"]),
    "huge count csv": (lambda lab: lab.csv("d.csv", _with(lab, 5e9)), {},
                       ["d.csv", "GENE2", "too large", "raw counts"]),
    "fraction mtx": (lambda lab: _mtx(lab, _last("3 5 1.5")), {},
                     ["lab/d", "gene 3, cell 5", "not a whole number", "raw counts"]),
    "negative mtx": (lambda lab: _mtx(lab, _last("3 5 -2")), {},
                     ["lab/d", "gene 3, cell 5", "negative", "raw counts"]),
    "mtx declares more": (lambda lab: _mtx(lab, _declare(7)), {},
                          ["lab/d", "matrix.mtx declares", "too few", "copy it again"]),
    "mtx declares fewer": (lambda lab: _mtx(lab, _declare(-7)), {},
                           ["lab/d", "matrix.mtx declares", "too many", "export"]),
    "mtx outside its shape": (lambda lab: _mtx(lab, _last("13 5 1")), {},
                              ["lab/d", "gene 13 of 12", "export"]),
    "mtx from 0": (lambda lab: _mtx(lab, _last("0 5 1")), {}, ["lab/d", "gene 0 of 12", "export"]),
    "mtx entry twice": (lambda lab: _mtx(lab, lambda lines: lines.__setitem__(-1, lines[-2])), {},
                        ["lab/d", "two entries", "cell", "keep one"]),
    "mtx line of words": (lambda lab: _mtx(lab, _last("3 five 1")), {},
                          ["lab/d", "not 'gene cell count'", "export"]),
    "mtx of another kind": (lambda lab: _mtx(lab, lambda lines: lines.pop(0)), {},
                            ["lab/d", "MatrixMarket", "export"]),
    "mtx without barcodes": (lambda lab: [Path(f := lab.tenx_mtx("d", lab.draw()),
                             "barcodes.tsv.gz").unlink(), f][1:], {},
                             ["lab/d", "no barcodes", "10x folder"]),
    "mtx names fewer": (lambda lab: [lab.tenx_mtx("d", lab.draw()),
                        lab.write("d/barcodes.tsv.gz", "W1\nW2\n")][:1], {},
                        ["lab/d", "declares 9 rows of barcodes.tsv, which has 2", "export"]),
    "fraction h5ad": (lambda lab: _h5ad(lab, np.log1p(lab.draw())), {},
                      ["d.h5ad", "X, gene 'GENE0', cell 1", "not a whole number",
                       "layers['counts']"]),
    "negative h5ad": (lambda lab: _h5ad(lab, sp.csc_matrix(_with(lab, -3))), {},
                      ["d.h5ad", "gene 'GENE2', cell 5", "negative", "layers['counts']"]),
    "NaN h5ad": (lambda lab: _h5ad(lab, sp.csr_matrix(_with(lab, np.nan))), {},
                 ["d.h5ad", "gene 'GENE2', cell 5", "NaN", "layers['counts']"]),
    "h5ad lies": (_lying_indptr, {}, ["d.h5ad", "not 9 observations x 12 genes", "write it again"]),
    "fraction 10x h5": (lambda lab: lab.tenx_h5("d.h5", _with(lab, 0.5)), {},
                        ["d.h5", "gene 'GENE2', cell 5", "0.5 is not a whole", "raw counts"]),
    "barcode twice csv": (lambda lab: _twice(lab).csv("d.csv", lab.draw()), {},
                          ["d.csv", "cells 2 and 6", "same barcode", "name every cell"]),
    "barcode twice mtx": (lambda lab: _twice(lab).tenx_mtx("d", lab.draw()), {},
                          ["lab/d", "cells 2 and 6", "same barcode", "name every cell"]),
    "gene twice": (lambda lab: _genes(lab, "DUP", "DUP").csv("d.csv", lab.draw()), {},
                   ["d.csv", "'DUP'", "rows 3 and 4", "keep or add up"]),
    "gene twice but for its version": (
        lambda lab: _genes(lab, "ENSG00000000003.1", "ENSG00000000003.2").csv("d.csv", lab.draw()),
        {}, ["d.csv", "'ENSG00000000003'", "'ENSG00000000003.2'", "keep or add up"]),
    "gene without a name": (lambda lab: _genes(lab, "").csv("d.csv", lab.draw()), {},
                            ["d.csv", "row 3", "no name", "give every gene"]),
    "no batch column": (lambda lab: _sheet(lab, site="s"), {"batch": "site>run"},
                        ["a.csv", "'run'", "--batch", "columns there are: deposit, site", "type"]),
    "no label column": (lambda lab: _sheet(lab), {"label": "cell_type"},
                        ["a.csv", "'cell_type'", "--label", "columns there are", "type"]),
    "no condition column": (lambda lab: _h5ad(lab, lab.draw()), {"condition": "treated"},
                            ["d.h5ad", "'treated'", "--condition", "batch, kind"]),
    "no keep column": (lambda lab: _sheet(lab), {"keep": ["qc==ok"]},
                       ["a.csv", "'qc'", "--keep", "columns there are", "type"]),
    "batch without a value": (lambda lab: _sheet(lab, "barcode,type\n" + "".join(
                              f"W{i:02d},{'T' if i else ''}\n" for i in range(9))),
                              {"batch": "type"}, ["a.csv", "'type'", "1 of 9 cells", "--keep"]),
    "metadata lacks cells": (lambda lab: _sheet(lab, "barcode,type\nW00,T\nW03,T\n"), {},
                             ["a.meta.csv", "7 of 9 cells", "cell 2", "'barcode'",
                              "give every cell a row"]),
    "metadata cell twice": (lambda lab: _sheet(lab, "barcode,type\nW00,T\nW00,T\n"), {},
                            ["a.meta.csv", "row 2", "one row a cell"]),
    "truncated metadata": (lambda lab: [lab.csv("a.csv", lab.draw()), _cut(lab.write("m.csv.gz",
                           METADATA)), lab.sheet([{"address": "a.csv", "metadata": "m.csv.gz"}])
                           ][2:], {}, ["m.csv.gz", "truncated", "copy it again"]),
    "metadata not there": (lambda lab: [lab.csv("a.csv", lab.draw()), lab.sheet(
                           [{"address": "a.csv", "metadata": "none.csv"}])][1:], {},
                           ["none.csv", "no metadata table", "column 'metadata'"]),
    "nothing kept": (lambda lab: _sheet(lab), {"keep": ["type==other"]},
                     ["a.csv", "no cell left after --keep", "correct --keep"]),
    "no cells": (lambda lab: lab.write("d.csv", "gene\nG1\nG2\n"), {},
                 ["d.csv", "no cells", "comma or tab"]),
    "no cells h5ad": (lambda lab: lab.h5ad("d.h5ad", np.zeros((0, 12)),
                      obs=pd.DataFrame(index=pd.Index([], dtype=str))), {},
                      ["d.h5ad", "has no cells", "leave this deposit out"]),
    "no counts": (lambda lab: lab.csv("d.csv", 0 * lab.draw()), {},
                  ["d.csv", "no cell with counts", "leave this deposit out"]),
    "truncated csv.gz": (lambda lab: _cut(lab.csv("d.csv.gz", lab.draw())), {},
                         ["d.csv.gz", "truncated", "copy it again"]),
    "truncated mtx.gz": (lambda lab: [f := lab.tenx_mtx("d", lab.draw()),
                         _cut(f + "/matrix.mtx.gz")][:1], {},
                         ["lab/d", "truncated", "copy it again"]),
    "truncated h5ad": (lambda lab: _cut(lab.h5ad("d.h5ad", lab.draw())), {},
                       ["d.h5ad", "truncated", "copy it again"]),
    "not HDF5": (lambda lab: lab.write("d.h5ad", "words"), {}, ["d.h5ad", "damaged", "copy"]),
    "HDF5 of another kind": (lambda lab: [h5py.File(lab.folder / "d.h5", "w").close(),
                             str(lab.folder / "d.h5")][1:], {}, ["d.h5", "neither", "give .csv"]),
    "unknown format": (lambda lab: lab.write("d.rds", "x"), {},
                       ["d.rds", "format of this file cannot be told", ".h5ad"]),
    "empty file": (lambda lab: lab.write("d.csv", ""), {}, ["d.csv", "empty", "header"]),
    "empty sheet": (lambda lab: lab.write("deposits.csv", "address,site\n"), {},
                    ["deposits.csv", "lists no deposits", "one row a deposit"]),
    "sheet without address": (lambda lab: lab.write("deposits.csv", "file,site\na.csv,s\n"), {},
                              ["deposits.csv", "column 'address'"]),
    "sheet of paths without address": (lambda lab: lab.write("s.csv", "addr,run\nlab/a,x\n"), {},
                                       ["s.csv: has no column 'address'", "addr, run"]),
    "sheet of numbered runs without address": (
        lambda lab: lab.write("s.tsv", "addr\trun\na.h5ad\t1\n"), {},
        ["s.tsv: has no column 'address'", "addr, run"]),
    "address twice in a sheet": (lambda lab: [lab.csv("a.csv", lab.draw()), lab.sheet([
                                 {"address": "a.csv", "deposit": name} for name in "xy"])][1:], {},
                                 ["deposits.csv", "rows 1 and 2", "same address", "once"]),
    "address given twice": (lambda lab: [lab.csv("a.csv", lab.draw())] * 2, {},
                            ["--deposits", "deposits 1 and 2", "same address", "once"]),
    "lone carriage returns": (lambda lab: lab.write("d.csv", "x,W1\rG1,1\rG2,3\r"), {},
                              ["d.csv", "lone carriage returns", "UTF-8 CSV with line feeds"]),
    "binary named csv": (lambda lab: _bytes(lab, b"PK\x03\x04\r\x00\rxl/\r\n\x00"), {},
                         ["d.csv", "not text in UTF-8", "UTF-8 CSV with line feeds"]),
    "UTF-16 csv": (lambda lab: _bytes(lab, "x,W1\r\nG1,1\r\n".encode("utf-16")), {},
                   ["d.csv", "not text in UTF-8", "UTF-8 CSV with line feeds"]),
    "quote without an end": (
        lambda lab: lab.write("d.csv", "x" + ",W" * 70_000 + '\n"G1' + ",1" * 70_000 + "\n"), {},
        ["d.csv", "cannot be split", "quotes"]),
    "sheet row without address": (lambda lab: lab.write("s.csv", "address,site\n,s\n"), {},
                                  ["s.csv", "row 1", "column 'address'"]),
    "sheet takes a QC name": (lambda lab: _sheet(lab, n_counts="4"), {},
                              ["deposits.csv", "'n_counts'", "rename"]),
    "sheet among deposits": (lambda lab: [_sheet(lab), lab.csv("b.csv", lab.draw())], {},
                             ["deposits.csv", "among other deposits", "list them"]),
    "nothing there": (lambda lab: str(lab.folder / "none.h5ad"), {},
                      ["none.h5ad", "nothing at this address", "check"]),
    "no folder there": (lambda lab: str(lab.folder / "none"), {},
                        ["lab/none", "neither a deposit nor a 10x folder", "give .csv"]),
    "no deposits": (lambda lab: [], {}, ["--deposits", "no deposits given", "give a sheet"]),
    "deposit listed twice": (lambda lab: [lab.csv("a.csv", lab.draw()),
                             lab.csv("b.csv", lab.draw())], {},
                             ["b.csv", "same bytes as", "a.csv", "once"]),
    "two deposits of a name": (lambda lab: [lab.csv("a.csv", lab.draw()), lab.csv("b.csv",
                               lab.draw(1)), lab.sheet([{"address": "a.csv", "deposit": "x"},
                               {"address": "b.csv", "deposit": "x"}])][2:], {},
                               ["deposits.csv", "rows 1 and 2", "'x'", "column 'deposit'"]),
    "no shared gene": (_disjoint, {}, ["a.csv", "no gene is in all 2 deposits", "--genes"]),
    "keep without an operator": (lambda lab: _sheet(lab), {"keep": ["type=T"]},
                                 ["--keep", "column==value"]),
    "batch tree without a level": (lambda lab: _sheet(lab), {"batch": "site>>run"},
                                   ["--batch", "site>lab>run"]),
    "no gene table there": (lambda lab: _sheet(lab), {"genes": "/nowhere/genes.csv"},
                            ["/nowhere/genes.csv", "no such file"]),
    "gene table without ids": (lambda lab: _sheet(lab), {"genes": "TABLE"},
                               ["genes.csv", "'gene_id'", "columns there are: symbol"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_line_and_writes_nothing(case, lab, ingest) -> None:
    build, choices, words = CASES[case]
    deposits = build(lab)
    if choices.get("genes") == "TABLE":
        choices = {"genes": lab.write("genes.csv", "symbol,gc\nA,0.5\n")}
    with pytest.raises(BadInput) as caught:
        ingest([deposits] if isinstance(deposits, str) else deposits, **choices)
    line = str(caught.value)
    assert [word for word in words if word not in line] == [], line
    assert "\n" not in line
    assert caught.value.code == 2
    assert not any(barcode in line for barcode in lab.barcodes)
    assert not Path(ingest.workspace).exists()


def test_a_good_deposit_beside_a_bad_one_is_not_written_either(lab, ingest) -> None:
    good = lab.csv("a.csv", lab.draw(1))
    with pytest.raises(BadInput, match=r"b\.csv"):
        ingest([good, lab.csv("b.csv", _with(lab, 0.5))])
    assert not Path(ingest.workspace).exists()


@pytest.mark.parametrize(
    ("form", "address"), [("csv", "d.csv"), ("tenx_mtx", "d"), ("tenx_h5", "d.h5")]
)
@pytest.mark.parametrize("choices", [{"batch": "tipe"}, {"label": "tipe"}, {"keep": ["tipe==T"]}])
def test_the_plan_refuses_a_column_that_is_nowhere(lab, ingest, form, address, choices) -> None:
    getattr(lab, form)(address, lab.draw())
    lab.write("d.meta.csv", METADATA)
    sheet = lab.sheet([{"address": address, "metadata": "d.meta.csv", "site": "s"}])
    with pytest.raises(BadInput, match=r"no column 'tipe'.*deposit, site, type\)$") as caught:
        plan.run(IngestParams(**choices), [sheet], ingest.workspace)
    assert f"/lab/{address}: " in str(caught.value)
    assert not Path(ingest.workspace).exists()


def test_the_ingest_command_leaves_nothing_of_what_it_refuses(lab, ingest, capsys) -> None:
    bad = lab.csv("d.csv", _with(lab, 0.5))
    assert main(["ingest", "--deposits", bad, "--workspace", ingest.workspace]) == 2
    assert "0.5 is not a whole number" in capsys.readouterr().err
    assert not Path(ingest.workspace).exists()
    good = lab.csv("d.csv", lab.draw())
    assert main(["ingest", "--deposits", good, "--workspace", ingest.workspace]) == 0
    (cohort,) = Path(ingest.workspace).glob("cohorts/*")
    assert {"plan.json", "cohort.json"} <= {path.name for path in cohort.iterdir()}


def test_a_deposit_that_changes_behind_its_plan_is_refused(lab, ingest, files) -> None:
    address = plan.run(IngestParams(), [lab.csv("a.csv", lab.draw())], ingest.workspace)
    lab.csv("a.csv", lab.draw(1))
    with pytest.raises(BadInput, match="plan again") as caught:
        step.run(address, ingest.workspace)
    assert "a.csv" in str(caught.value)
    assert [Path(name).name for name in files(ingest.workspace)] == ["plan.json"]
