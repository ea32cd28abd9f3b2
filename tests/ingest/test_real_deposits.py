"""Real files, exactly as they were delivered."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from levelseq.errors import BadDeposit


def test_lung_lines_as_the_lab_delivered_them(shared, ingest) -> None:
    sheet = shared / "data" / "lung_lines" / "deposits.csv"
    cohort = ingest(
        [str(sheet)],
        batch="protocol>library",
        label="cell_line_demuxlet",
        keep=["demuxlet_cls==SNG"],
    )
    manifest = cohort.manifest
    assert (manifest["n_obs"], manifest["n_vars"]) == (1021, 28517)
    assert manifest["qc"]["removed"] == {"keep": 387, "empty": 0}
    assert manifest["gene_ids"] == "ensembl"
    assert manifest["batch_tree"] == ["protocol", "library"]
    assert cohort.var()["in_all_deposits"].sum() == 11_533
    obs = cohort.obs()
    assert obs.index.is_unique
    assert set(obs["cell_line_demuxlet"]) == {"H1975", "H2228", "HCC827", "A549", "H838"}
    # Wells are named alike in two libraries: totals tell whether cells were mixed up.
    assert obs.loc["sc_celseq2:A1", ["n_counts", "n_genes"]].tolist() == [16430, 4773]
    for library in ("sc_celseq2_5cl_p1", "sc_celseq2_5cl_p2"):
        own = obs[obs["library"] == library]
        wells = own.index.str.removeprefix(f"{library}:")
        counts = pd.read_csv(sheet.parent / f"{library}.count.csv.gz", usecols=wells)
        assert len(own) > 150
        assert np.array_equal(counts[wells].sum(), own["n_counts"])
    assert 0 < obs["pct_mito"].median() < 20


SETS = {
    "kang_muscat": {"batch": "donor", "label": "cell_type", "condition": "condition"},
    "pbmc_chemistries": {"batch": "batch", "label": "cell_type"},
    "pancreas_baron_h1": {"batch": "batch", "label": "cell_type", "donor": "donor"},
    "rna_mixture": {"batch": "protocol", "label": "mix"},
    "bottomly": {"batch": "batch>lane", "condition": "condition"},
    "gfrn_signatures": {"batch": "batch", "condition": "condition"},
    "airway": {"batch": "donor", "condition": "condition"},
    "pasilla": {"batch": "batch", "condition": "condition"},
    "gtex_brain": {"batch": "batch", "condition": "condition"},
    "tb_hiv": {"batch": "batch", "condition": "condition"},
    "yeast48": {"batch": "batch", "condition": "condition"},
}


@pytest.mark.parametrize("name", SETS)
def test_every_count_of_a_public_set_arrives(name, shared, ingest) -> None:
    path = shared / "data" / f"{name}.h5ad"
    cohort = ingest([str(path)], **SETS[name])
    source = ad.read_h5ad(path)
    shard = next(cohort.shards())
    assert cohort.manifest["n_obs"] == source.n_obs
    assert list(shard.obs_names) == [f"{name}:{barcode}" for barcode in source.obs_names]
    back = shard[:, [n for n in source.var_names if n in shard.var_names]].X
    kept = [n in shard.var_names for n in source.var_names]
    assert sum(kept) > 0.95 * source.n_vars
    assert abs(back.astype(np.int64) - source.X[:, kept].astype(np.int64)).sum() == 0
    column = next(iter(SETS[name].values())).split(">")[0]
    assert list(shard.obs[column].astype(str)) == list(source.obs[column].astype(str))


def test_arrays_of_intensities_are_refused(shared, ingest) -> None:
    path = str(shared / "data" / "bladderbatch.h5ad")
    with pytest.raises(BadDeposit) as caught:
        ingest([path], batch="batch")
    line = str(caught.value)
    assert line.startswith(path)
    assert "not a whole number" in line
    assert "layers['counts']" in line
