"""What a cohort holds, and that content alone decides its address and bytes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from levelseq.cohort import BatchTree, open_cohort
from levelseq.ingest import plan, step
from levelseq.ingest.params import IngestParams


@pytest.fixture
def study(lab) -> str:
    """Two libraries with wells named alike, another gene set in each, metadata as R writes it."""
    rows = []
    for number, site in enumerate(["north", "south"]):
        lab.genes = [f"ENSG{i:011d}.{number + 1}" for i in range(number * 3, 12)]
        lab.genes[-1] = "ENSG00000198804"  # MT-CO1
        lab.r_csv(f"lib{number}.csv.gz", lab.draw(number))
        lines = [f'"{b}","{"ab"[i % 2]}",{i},"don{number}"' for i, b in enumerate(lab.barcodes)]
        # The rows are in another order than the cells, and there is one more.
        lines = ['"extra","a",99,"don9"', *reversed(lines)]
        lab.write(f"lib{number}.meta.csv", "\n".join(['"type","plate","donor"', *lines]))
        rows.append(
            {
                "address": f"lib{number}.csv.gz",
                "metadata": f"lib{number}.meta.csv",
                "site": site,
                "library": f"L{number}",
                "country": "X",
            }
        )
    return lab.sheet(rows)


CHOICES = {"batch": "country>site>library", "label": "type", "donor": "donor"}


def test_obs_has_study_batch_and_role_columns_and_qc(study, lab, ingest) -> None:
    cohort = ingest([study], **CHOICES)
    obs = cohort.obs()
    study_columns = ["country", "site", "library", "type", "donor", "deposit"]
    assert list(obs.columns) == [*study_columns, "n_counts", "n_genes", "pct_mito"]
    assert list(obs.index) == [f"L{n}:{b}" for n in (0, 1) for b in lab.barcodes]
    assert list(obs["type"][:3]) == ["a", "b", "a"]
    assert obs.loc["L1:W04", ["site", "donor"]].tolist() == ["south", "don1"]
    assert cohort.manifest["roles"]["label"] == "type"
    assert cohort.manifest["roles"]["condition"] is None
    lab.genes = [str(i) for i in range(12)]
    counts = lab.draw(0)
    first = obs[:9]
    assert np.array_equal(first["n_counts"], counts.sum(axis=1))
    assert np.array_equal(first["n_genes"], (counts > 0).sum(axis=1))
    assert np.allclose(first["pct_mito"], 100 * counts[:, -1] / counts.sum(axis=1))
    assert first["pct_mito"].max() > 0


def test_var_says_which_genes_are_in_how_many_deposits(study, ingest) -> None:
    var = ingest([study]).var()
    assert var.index[0] == "ENSG00000000000"
    assert var["in_deposits"].tolist() == [1, 1, 1] + [2] * 9
    assert var["in_all_deposits"].tolist() == [False] * 3 + [True] * 9
    assert ingest([study]).manifest["gene_ids"] == "ensembl"


def test_a_level_with_one_value_stays_in_the_tree_of_the_cohort(study, ingest) -> None:
    """A later cohort may have another: what is fitted leaves it out, and knows its value."""
    cohort = ingest([study], **CHOICES)
    assert ">".join(cohort.batch_levels) == CHOICES["batch"]
    tree, dropped = BatchTree.from_obs(cohort.obs(), cohort.batch_levels).without_constant_levels()
    assert (tree.levels, dropped) == (("site", "library"), ["country"])


def test_keep_rules_all_hold_and_what_they_remove_is_counted(study, ingest) -> None:
    cohort = ingest([study], label="type", keep=["type == a", "plate!=0"])
    assert set(cohort.obs()["type"]) == {"a"}
    assert cohort.manifest["n_obs"] == 2 * 4
    assert cohort.manifest["qc"]["removed"] == {"keep": 10, "empty": 0}
    assert "plate" not in cohort.obs()


def test_cells_without_counts_are_left_out_and_counted(lab, ingest, capsys) -> None:
    counts = lab.draw()
    counts[3] = 0
    cohort = ingest([lab.csv("d.csv", counts)])
    assert cohort.manifest["n_obs"] == 8
    assert cohort.manifest["qc"]["removed"] == {"keep": 0, "empty": 1}
    assert "d:W03" not in cohort.obs().index
    assert "cells without any count" in capsys.readouterr().err


def test_a_missing_label_is_unknown_and_said(lab, ingest, capsys) -> None:
    obs = pd.DataFrame({"kind": pd.Categorical(["a", None] + ["b"] * 7)}, index=lab.barcodes)
    cohort = ingest([lab.h5ad("d.h5ad", lab.draw(), obs=obs)], label="kind")
    assert cohort.obs()["kind"].tolist() == ["a", "unknown"] + ["b"] * 7
    assert "missing values named 'unknown'" in capsys.readouterr().err


def test_the_sheet_goes_before_metadata_and_metadata_before_obs(lab, ingest, capsys) -> None:
    obs = pd.DataFrame({"x": "obs", "y": "obs", "z": "obs"}, index=lab.barcodes)
    lab.h5ad("d.h5ad", lab.draw(), obs=obs)
    lab.write("m.tsv", "cell\tx\ty\n" + "".join(f"{b}\tmeta\tmeta\n" for b in lab.barcodes))
    sheet = lab.sheet([{"address": "d.h5ad", "metadata": "m.tsv", "x": "sheet"}])
    cohort = ingest([sheet], label="x", tissue="y", assay="z")
    assert cohort.obs()[["x", "y", "z"]].iloc[0].tolist() == ["sheet", "meta", "obs"]
    assert "column 'x' of the sheet goes before that of the observations" in capsys.readouterr().err


def test_a_sheet_that_says_what_the_observations_say_is_no_news(lab, ingest, capsys) -> None:
    lab.h5ad("d.h5ad", lab.draw(), obs=pd.DataFrame({"x": "same"}, index=lab.barcodes))
    ingest([lab.sheet([{"address": "d.h5ad", "x": "same"}])], label="x")
    assert "goes before" not in capsys.readouterr().err


def test_a_gene_table_maps_symbols_and_adds_columns(lab, ingest) -> None:
    lab.genes = ["TP53", "ENSG00000000005.4", "MT-CO1", "AMBIGUOUS", *lab.genes[4:]]
    table = (
        "gene_id,symbol,gc,length\nENSG00000141510,TP53,0.48,2512\nENSG00000000005,TNMD,0.42,NA\n"
        "ENSG00000198804,MT-CO1,0.46,1542\nENSG00000000001,AMBIGUOUS,0.5,1\n"
        "ENSG00000000002,AMBIGUOUS,0.5,1\n"
    )
    cohort = ingest([lab.csv("d.csv", lab.draw())], genes=lab.write("genes.csv", table))
    var = cohort.var()
    assert var.loc["ENSG00000141510", ["symbol", "gc", "length"]].tolist() == ["TP53", 0.48, 2512]
    assert np.isnan(var.loc["ENSG00000000005", "length"])
    assert "AMBIGUOUS" in var.index
    assert var.loc["GENE5", "symbol"] == ""
    assert cohort.obs()["pct_mito"].max() > 0


def test_the_table_of_genes_decides_the_fingerprint_by_its_bytes(lab, ingest) -> None:
    deposit = lab.csv("d.csv", lab.draw())
    text = "gene_id,symbol\nENSG00000141510,GENE1\n"
    here = ingest([deposit], genes=lab.write("here.csv", text))
    there = ingest([deposit], genes=lab.write("sub/there.csv", text))
    other = ingest([deposit], genes=lab.write("other.csv", text.replace("GENE1", "GENE2")))
    assert here.fingerprint == there.fingerprint
    assert other.fingerprint not in (here.fingerprint, ingest([deposit]).fingerprint)


@pytest.mark.parametrize(
    ("genes", "kind"),
    [
        (["RPL3", "RPS6", "ZNF10", "TP53"], "symbol"),
        (["Rpl3", "Rps6", "Zfp36", "Slc2a1"], "symbol"),
        (["FBgn0000003", "FBgn0000008", "FBgn0000014"], "other"),
        (["ENSMUSG00000000001", "ENSMUSG00000000003", "ERCC-00002"], "ensembl"),
    ],
)
def test_the_kind_of_gene_ids_is_recorded(lab, ingest, genes, kind) -> None:
    lab.genes = genes
    assert ingest([lab.csv("d.csv", lab.draw())]).manifest["gene_ids"] == kind


def test_few_shared_genes_name_the_deposit_that_shares_least(lab, ingest, capsys) -> None:
    names = [f"G{i}" for i in range(300)]
    deposits = []
    for number, genes in enumerate([names, names, [*names[:100], *(f"X{i}" for i in range(200))]]):
        lab.genes = genes
        deposits.append(lab.csv(f"d{number}.csv", lab.draw(number)))
    assert ingest(deposits).var()["in_all_deposits"].sum() == 100
    line = next(x for x in capsys.readouterr().err.splitlines() if "few genes" in x)
    assert json.loads(line)["shared"] == 100
    assert json.loads(line)["shares_least"].endswith("d2.csv")


def test_a_second_run_writes_nothing(study, ingest, tmp_path) -> None:
    def stamps() -> dict[str, int]:
        paths = [path for path in Path(ingest.workspace).rglob("*") if path.is_file()]
        return {str(path): path.stat().st_mtime_ns for path in paths}

    first = ingest([study], **CHOICES)
    before = stamps()
    second = ingest([study], **CHOICES)
    assert second.address == first.address
    assert stamps() == before
    assert len(before) > 10


def test_two_workspaces_hold_the_same_bytes(study, tmp_path, files) -> None:
    written = []
    for name in ("one", "two"):
        workspace = str(tmp_path / name)
        address = plan.run(IngestParams(**CHOICES), [study], workspace)
        written.append(files(step.run(address, workspace)))
    at_once = step.run_deposits(IngestParams(**CHOICES), [study], str(tmp_path / "three"))
    assert written[0] == written[1] == files(at_once)
    assert {"plan.json", "cohort.json", "shards/00000.zarr/zarr.json"} <= set(written[0])


def test_row_order_and_place_of_the_sheet_change_nothing(study, lab, ingest, files) -> None:
    first = ingest([study], **CHOICES)
    rows = pd.read_csv(study).iloc[::-1, ::-1]
    moved = lab.folder / "elsewhere"
    moved.mkdir()
    for path in lab.folder.glob("lib*"):
        (moved / path.name).write_bytes(path.read_bytes())
    rows.to_csv(moved / "sheet.tsv", sep="\t", index=False)
    address = plan.run(IngestParams(**CHOICES), [str(moved / "sheet.tsv")], ingest.workspace + "2")
    second = open_cohort(step.run(address, ingest.workspace + "2"))
    assert second.fingerprint == first.fingerprint
    assert second.manifest["shards"] == first.manifest["shards"]


def test_what_decides_content_decides_the_fingerprint(study, lab, ingest) -> None:
    def prints(**choices: object) -> str:
        return Path(plan.run(IngestParams(**choices), [study], ingest.workspace)).parent.name

    seen = [prints(**CHOICES), prints(**CHOICES, keep=["type==a"]), prints(batch="site")]
    text = Path(study).read_text()
    lab.write("deposits.csv", text.replace("south", "west"))
    seen.append(prints(**CHOICES))
    lab.write("deposits.csv", text)
    metadata = lab.folder / "lib1.meta.csv"
    metadata.write_text(metadata.read_text() + "\n")
    seen.append(prints(**CHOICES))
    assert len(set(seen)) == 5
    same = prints(batch=" site > library ", keep=["type==a", "plate!=1"])
    assert same == prints(batch="site>library", keep=["plate != 1", "type == a", "type==a"])


def test_the_plan_lists_digests_and_predicts(study, ingest) -> None:
    address = plan.run(IngestParams(**CHOICES), [study], ingest.workspace)
    content = json.loads(Path(address).read_text())
    assert content["schema"] == "levelseq.plan/1"
    assert Path(address).parent.name == content["fingerprint"]
    first = content["deposits"][0]
    assert first["study"] == {
        "country": "X",
        "deposit": "lib0",
        "library": "L0",
        "site": "north",
    }
    assert first["format"] == "csv"
    assert first["bytes"] == (Path(study).parent / "lib0.csv.gz").stat().st_size
    assert content["predicted"]["n_obs"] == 18
    assert all(content["predicted"][what] > 0 for what in ("memory_gib", "seconds"))


def test_barcodes_and_donors_reach_no_log(study, lab, ingest, capsys) -> None:
    ingest([study], **CHOICES)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) >= 4
    assert not any(name in captured.err for name in [*lab.barcodes, "don0", "don1"])
