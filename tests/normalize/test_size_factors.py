"""Size factors equal R's on the samples of the fit, and follow its definition on new ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from levelseq.cohort import open_normalized
from levelseq.errors import BadInput, BadOption
from levelseq.normalize import (
    geometric,
    library,
    log1p_cpm,
    median_of_ratios,
    median_sizes,
    poscounts,
    rle,
    size_factors,
    step,
    tmm,
    tmmwsp,
    upper_quartile,
)
from levelseq.normalize.chunks import Chunk, in_memory
from levelseq.normalize.packing import pack, unpack
from levelseq.normalize.params import NormalizeParams

SETS = ("mini", "marioni")
HERE = Path(__file__).parents[1] / "golden" / "r"
MODULES = {
    "median_of_ratios": median_of_ratios,
    "poscounts": poscounts,
    "tmm": tmm,
    "tmmwsp": tmmwsp,
    "rle": rle,
    "upper_quartile": upper_quartile,
    "library": library,
    "geometric": geometric,
    "median": median_sizes,
    "log1p_cpm": log1p_cpm,
}
ROW_BY_ROW = [name for name in size_factors.METHODS if name != "iterate"]
"""Where a sample of the fit has later what the fit gave it; test_iterate.py has the other."""
NEED_COUNTS = ("median_of_ratios", "poscounts", "tmm", "tmmwsp", "rle", "upper_quartile", "median")
SECOND = {"ref_column": 1, "log_ratio_trim": 0.2, "sum_trim": 0.1}


def first_without_zeros(x, n):
    return np.flatnonzero((x > 0).all(axis=0))[:n]


def counts_of(oracle, name):
    return oracle(f"data/{name}/counts.csv.gz").T


def kept_counts(kind="counts"):
    """Counts in the repository, and as the R script makes them coarse."""
    table = pd.read_csv(HERE / "counts.csv", index_col=0).T
    if kind == "coarse":
        x = table.to_numpy()
        sample, gene = np.indices(x.shape) + 1
        x = x // 64 + (x > 0)
        x[((gene * 7 + sample * 3) % 5 == 0) & (gene > 40)] = 0
        table = pd.DataFrame(x, table.index, table.columns).iloc[:7]
    return table


def in_chunks(x, size=7):
    names = [f"s{i}" for i in range(len(x))]
    parts = [
        Chunk(sp.csr_matrix(x[i : i + size]), names[i : i + size]) for i in range(0, len(x), size)
    ]
    parts.insert(1, Chunk(sp.csr_matrix((0, x.shape[1]), dtype=x.dtype), []))
    return lambda: iter(parts)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(
    ("file", "module", "options"),
    [
        ("deseq2_sf_ratio", median_of_ratios, {}),
        ("deseq2_sf_ratio_control50", median_of_ratios, {"control_genes": 50}),
        ("deseq2_sf_poscounts", poscounts, {"rescaled": False}),
        ("deseq2_sf_poscounts_dds", poscounts, {}),
        ("edger_nf_TMM", tmm, {}),
        (
            "edger_nf_TMM_ref1_trim",
            tmm,
            {"ref_column": 0, "log_ratio_trim": 0.2, "sum_trim": 0.1, "weighted": False},
        ),
        ("edger_nf_TMMwsp", tmmwsp, {}),
        ("edger_nf_RLE", rle, {}),
        ("edger_nf_upperquartile", upper_quartile, {}),
        ("edger_nf_upperquartile_p50", upper_quartile, {"p": 0.5}),
        ("scuttle_sf_library", library, {}),
        ("scuttle_sf_geometric", geometric, {}),
        ("scuttle_sf_median", median_sizes, {}),
    ],
)
def test_the_oracles_are_met(oracle, within, name, file, module, options):
    counts = counts_of(oracle, name)
    x = counts.to_numpy()
    if "control_genes" in options:
        options = {"control_genes": first_without_zeros(x, options["control_genes"])}
    golden = oracle(f"golden/{name}/{file}.csv.gz").loc[counts.index, "value"]
    within(module.apply(x, module.fit(x, **options)), golden)


@pytest.mark.parametrize("kind", ["counts", "coarse"])
@pytest.mark.parametrize(
    ("column", "module", "options"),
    [
        ("median_of_ratios", median_of_ratios, {}),
        ("control_genes", median_of_ratios, {"control_genes": 20}),
        ("poscounts", poscounts, {}),
        ("poscounts_matrix", poscounts, {"rescaled": False}),
        ("poscounts_control", poscounts, {"rescaled": False, "control_genes": 20}),
        ("tmm", tmm, {}),
        ("tmm_options", tmm, SECOND),
        ("tmm_unweighted", tmm, SECOND | {"weighted": False}),
        ("tmmwsp", tmmwsp, {}),
        ("tmmwsp_options", tmmwsp, SECOND),
        ("tmmwsp_unweighted", tmmwsp, SECOND | {"weighted": False}),
        ("rle", rle, {}),
        ("upper_quartile", upper_quartile, {}),
        ("upper_quartile_90", upper_quartile, {"p": 0.9}),
    ],
)
def test_r_is_met_on_the_kept_counts(within, kind, column, module, options):
    counts = kept_counts(kind)
    x = counts.to_numpy()
    if "control_genes" in options:
        options = options | {"control_genes": first_without_zeros(x, options["control_genes"])}
    golden = pd.read_csv(HERE / f"size_factors_{kind}.csv", index_col=0).loc[counts.index, column]
    state = module.fit(x, **options)
    within(module.apply(x, state), golden)
    # A sample of the fit alone, and in another type, has what it has among the others.
    within(module.apply(sp.csr_matrix(x[2:3], dtype=np.uint16), state), golden[2:3])


@pytest.mark.parametrize("name", SETS)
def test_cpm_by_tmm_is_edgers(oracle, within, name):
    counts = counts_of(oracle, name)
    golden = oracle(f"golden/{name}/edger_cpm_tmm.csv.gz").T.loc[counts.index]
    fit = size_factors.fit("tmm", in_memory(counts.to_numpy()))
    library = fit.state.reference_library
    values = log1p_cpm.values(counts.to_numpy(), fit.size_factor_S, library)
    within(np.expm1(values), golden.to_numpy())


@pytest.mark.parametrize("method", ROW_BY_ROW)
def test_chunks_and_sparse_give_what_the_whole_gives(method):
    x = kept_counts().to_numpy()
    whole, chunked = (
        size_factors.fit(method, in_memory(x)),
        size_factors.fit(method, in_chunks(x)),
    )
    np.testing.assert_allclose(chunked.size_factor_S, whole.size_factor_S, rtol=1e-13)
    np.testing.assert_array_equal(chunked.library_S, x.sum(axis=1))
    assert np.exp(np.log(whole.size_factor_S).mean()) == pytest.approx(1, abs=1e-12)
    again = size_factors.apply(in_chunks(x, 5), whole.state)
    np.testing.assert_allclose(again, whole.size_factor_S, rtol=1e-13)
    native_S = size_factors.measured(in_chunks(x, 5), whole.state).native_S
    np.testing.assert_allclose(native_S, whole.native_S, rtol=1e-13)


@pytest.mark.parametrize("method", ROW_BY_ROW)
def test_native_factors_are_the_methods_own(method):
    x = kept_counts().to_numpy()
    fit = size_factors.fit(method, in_memory(x))
    if method == "poscounts_matrix":
        own = poscounts.apply(x, poscounts.fit(x, rescaled=False))
    else:
        own = MODULES[method].apply(x, MODULES[method].fit(x))
    np.testing.assert_array_equal(fit.native_S, own)
    raw = own * fit.library_S if method in size_factors.NORMALIZATION_FACTORS else own
    np.testing.assert_allclose(fit.size_factor_S, raw / np.exp(np.log(raw).mean()), rtol=1e-12)


@pytest.mark.parametrize("method", size_factors.METHODS)
def test_a_saved_state_gives_the_same(method):
    x = kept_counts().to_numpy()
    state = size_factors.fit(method, in_memory(x)).state
    arrays = {}
    facts = json.loads(json.dumps(pack(state.reference, "", arrays)))
    back = unpack(size_factors.METHODS[method], facts, "", arrays)
    again = size_factors.SizeFactors(method, back, state.scale, state.reference_library)
    np.testing.assert_array_equal(
        size_factors.apply(in_memory(x), again), size_factors.apply(in_memory(x), state)
    )


def test_many_rows_and_blocks_are_as_one_row_at_a_time():
    rng = np.random.default_rng(3)
    x = rng.poisson(rng.lognormal(3, 1, 900) * rng.lognormal(0, 0.3, (700, 1))) + 1
    for module in MODULES.values():
        state = module.fit(x)
        alone = np.concatenate([module.apply(x[i : i + 1], state) for i in (0, 63, 64, 699)])
        np.testing.assert_array_equal(module.apply(x, state)[[0, 63, 64, 699]], alone)


def test_log_sums_of_huge_and_tiny_values_do_not_overflow():
    x = np.array([[1e300, 2.0, 1e-200], [1e250, 4.0, 1e-250]] * 8)
    np.testing.assert_allclose(
        median_of_ratios.fit(x).log_geometric_mean_G, np.log(x).mean(axis=0), rtol=1e-13
    )


def test_control_genes_are_a_mask_or_numbers():
    x = kept_counts().to_numpy()
    numbers = first_without_zeros(x, 30)
    mask = np.zeros(x.shape[1], bool)
    mask[numbers] = True
    for method in ("median_of_ratios", "poscounts", "poscounts_matrix"):
        by_number, by_mask, plain = (
            size_factors.fit(method, in_memory(x), control_genes=given)
            for given in (numbers, mask, None)
        )
        np.testing.assert_array_equal(by_number.native_S, by_mask.native_S)
        assert (by_number.native_S != plain.native_S).any()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "names no gene"),
        ([200], "has 200, and genes are numbered 0 to 199"),
        ([-1], "has -1"),
        ([3, 3], "twice"),
        ([0.5], "neither a mask nor whole numbers"),
        ([True, False], "mask of 2 genes, not of 200"),
        (np.zeros(200, bool), "names no gene"),
    ],
)
def test_wrong_control_genes_are_told(given, said):
    with pytest.raises(BadOption, match=f"control_genes: .*{said}"):
        median_of_ratios.fit(kept_counts().to_numpy(), control_genes=given)


def test_control_genes_that_all_have_zeros_are_told():
    x = kept_counts().to_numpy()
    absent = np.flatnonzero((x == 0).any(axis=0))[:3]
    with pytest.raises(BadInput, match="none of the 3 control genes has a geometric mean"):
        median_of_ratios.fit(x, control_genes=absent)


def test_a_method_without_control_genes_refuses_them():
    with pytest.raises(BadOption, match=r"tmm takes no control genes.*median_of_ratios, poscounts"):
        size_factors.fit("tmm", in_memory(np.ones((2, 3))), control_genes=[0])
    with pytest.raises(BadOption, match="'nothing' gives no size factors"):
        size_factors.fit("nothing", in_memory(np.ones((2, 3))))


@pytest.mark.parametrize("module", [tmm, tmmwsp])
def test_the_reference_sample_goes_by_number_or_name(module):
    x = kept_counts().to_numpy()
    names = [f"s{i}" for i in range(len(x))]
    by_name, by_number = (
        module.fit(x, names, ref_column="s3"),
        module.fit(x, names, ref_column=3),
    )
    np.testing.assert_array_equal(by_name.reference_G, x[3])
    assert by_name.log_mean_factor == by_number.log_mean_factor
    for absent in (18, -1, "liver"):
        with pytest.raises(BadOption, match=f"ref_column: there is no sample {absent}"):
            module.fit(x, names, ref_column=absent)
    with pytest.raises(BadOption, match=r"sum_trim: is 0\.5"):
        module.fit(x, sum_trim=0.5)


def test_a_quantile_is_a_share():
    with pytest.raises(BadOption, match=r"p: is 75"):
        upper_quartile.fit(kept_counts().to_numpy(), p=75)


def test_a_sample_whose_quantile_is_zero_is_named():
    x = np.array([[9, 8, 7, 6, 5], [0, 0, 0, 0, 4]])
    with pytest.raises(BadInput, match=r"sample b: .*0\.75 quantile is 0"):
        upper_quartile.fit(x, ["a", "b"])
    state = upper_quartile.fit(x[:1])
    with pytest.raises(BadInput, match="sample b"):
        upper_quartile.apply(x, state, ["a", "b"])


@pytest.mark.parametrize("module", [rle, median_sizes])
def test_a_sample_without_half_of_the_genes_is_named(module):
    x = np.array([[9, 8, 7, 6, 5], [3, 8, 1, 6, 2], [0, 0, 0, 1, 4]])
    with pytest.raises(BadInput, match="sample c: has no counts in half of the genes"):
        module.apply(x, module.fit(x[:2]), list("abc"))


def test_a_new_sample_is_measured_against_the_frozen_geometric_means(oracle):
    x = counts_of(oracle, "mini").to_numpy()
    state = median_of_ratios.fit(x[:20])
    positive = (x[:20] > 0).all(axis=0)
    means = np.exp(np.log(x[:20, positive]).mean(axis=0))
    expected = []
    for new in x[20:]:
        ratio = new[positive] / means
        expected.append(np.exp(np.median(np.log(ratio[ratio > 0]))))
    np.testing.assert_allclose(median_of_ratios.apply(x[20:], state), expected, rtol=1e-12)


def test_a_new_sample_by_tmm_is_compared_with_the_frozen_reference_sample(oracle):
    x = counts_of(oracle, "mini").to_numpy()
    state = tmm.fit(x[:20])
    alone, among = tmm.apply(x[20:21], state), tmm.apply(x[18:], state)
    assert alone[0] == among[2]


def test_samples_that_the_fit_has_not_seen_stand_to_the_reference_as_in_edger(oracle):
    x = counts_of(oracle, "mini").to_numpy()
    golden = oracle("golden/mini/edger_nf_TMM.csv.gz")["value"].to_numpy()
    whole = tmm.fit(x)
    reference = int(np.flatnonzero((x == whole.reference_G).all(axis=1))[0])
    compared = 0
    for left_out in range(len(x)):
        state = tmm.fit(np.delete(x, left_out, axis=0))
        if not (state.reference_G == whole.reference_G).all():
            continue
        assert state.log_mean_factor != whole.log_mean_factor
        new, own = tmm.apply(x[[left_out, reference]], state)
        assert new / own == pytest.approx(golden[left_out] / golden[reference], rel=1e-12)
        compared += 1
    assert compared >= 3


@pytest.mark.parametrize("size", [1, 2])
def test_few_samples_have_the_factors_that_edger_gives(size):
    x = np.array([[10, 20, 30, 5], [10, 20, 30, 5]])[:size]
    np.testing.assert_array_equal(tmm.apply(x, tmm.fit(x)), np.ones(size))


def test_a_gene_without_counts_changes_no_reference_sample(oracle):
    x = counts_of(oracle, "mini").to_numpy()
    padded = np.hstack([x, np.zeros((len(x), 500), dtype=x.dtype)])
    np.testing.assert_array_equal(tmm.apply(padded, tmm.fit(padded)), tmm.apply(x, tmm.fit(x)))


def test_when_every_gene_has_a_zero_the_line_names_the_way_out():
    x = 1 + np.arange(16).reshape(4, 4)
    np.fill_diagonal(x, 0)
    with pytest.raises(BadInput, match=r"every gene has a zero.*poscounts or tmm.*log1p_cpm"):
        median_of_ratios.fit(x)


@pytest.mark.parametrize("method", NEED_COUNTS)
def test_a_sample_without_counts_is_named(method):
    module = MODULES[method]
    x = np.array([[4, 5], [0, 0], [3, 2]])
    names = ["kidney", "liver", "heart"]
    said = r"sample liver: has no counts.*leave the sample out"
    with pytest.raises(BadInput, match=said):
        module.fit(x, names)
    with pytest.raises(BadInput, match=said):
        module.apply(x, module.fit(x[[0, 2]]), names)
    with pytest.raises(BadInput, match=said):
        size_factors.fit(method, in_memory(x, names))


@pytest.mark.parametrize("method", ["library", "geometric", "log1p_cpm"])
def test_by_library_a_sample_without_counts_has_size_factor_one(method):
    x = np.array([[4, 5], [0, 0], [3, 6]])
    fit = size_factors.fit(method, in_memory(x))
    assert fit.size_factor_S[1] == 1
    assert np.log(fit.size_factor_S).sum() == pytest.approx(0, abs=1e-12)
    assert np.isfinite(fit.native_S).all()
    np.testing.assert_array_equal(size_factors.apply(in_memory(x), fit.state), fit.size_factor_S)


@pytest.mark.parametrize("method", size_factors.METHODS)
def test_without_any_counts_or_samples_there_is_one_line(method):
    with pytest.raises(BadInput, match=r"no counts|has counts"):
        size_factors.fit(method, in_memory(np.zeros((3, 4))))
    with pytest.raises(BadInput, match="no sample"):
        size_factors.fit(method, lambda: iter([]))


@pytest.mark.parametrize("method", ROW_BY_ROW)
def test_one_sample_is_its_own_reference(method):
    fit = size_factors.fit(method, in_memory(np.array([[7, 1, 0, 12, 30]])))
    assert fit.native_S == pytest.approx(1)
    assert fit.size_factor_S == pytest.approx(1)


@pytest.mark.parametrize("method", size_factors.METHODS)
def test_genes_that_say_nothing_give_no_nan(method):
    x = np.array([[0, 7, 3, 9], [0, 7, 5, 2], [0, 7, 4, 4]])
    assert np.isfinite(size_factors.fit(method, in_memory(x)).size_factor_S).all()


def test_where_every_gene_has_a_zero_poscounts_and_tmm_are_defined():
    x = 1 + np.arange(16).reshape(4, 4)
    np.fill_diagonal(x, 0)
    for method in ("poscounts", "tmm", "tmmwsp"):
        assert np.isfinite(size_factors.fit(method, in_memory(x)).size_factor_S).all()
    with pytest.raises(BadInput, match=r"rle: every gene has a zero.*poscounts"):
        rle.fit(x)


def test_a_sample_that_shares_no_gene_with_the_reference_is_named():
    with pytest.raises(BadInput, match=r"sample b: shares no gene"):
        tmm.fit(np.array([[5, 9, 0, 0], [0, 0, 1, 99], [5, 9, 0, 0], [5, 7, 0, 0]]), list("abcd"))


def test_a_cell_without_counts_has_size_factor_one_by_library():
    x = np.array([[4, 5], [0, 0], [3, 6]])
    factors = log1p_cpm.apply(x, log1p_cpm.fit(x))
    np.testing.assert_allclose(factors, [1, 1, 1], rtol=1e-14)


def test_log1p_cpm_is_its_definition():
    x = np.array([[1, 3], [10, 90]])
    fit = size_factors.fit("log1p_cpm", in_memory(x))
    values = log1p_cpm.values(sp.csr_matrix(x), fit.size_factor_S, fit.state.reference_library)
    assert sp.issparse(values)
    np.testing.assert_allclose(
        values.toarray(), np.log1p(np.array([[2.5e5, 7.5e5], [1e5, 9e5]])), rtol=1e-14
    )


@pytest.mark.parametrize(
    ("bad", "said"), [(-1.0, "negative"), (np.nan, "NaN"), (np.inf, "infinite")]
)
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_what_is_no_count_is_refused_and_its_sample_named(bad, said, kind):
    x = np.ones((3, 4))
    x[1, 2] = bad
    for method in MODULES.values():
        with pytest.raises(BadInput, match=rf"sample b: .*{said}"):
            method.fit(kind(x), ["a", "b", "c"])


def bulk(n=40, n_genes=300, zeros=0.15):
    """Bulk counts of which every gene has a zero in some sample."""
    rng = np.random.default_rng(8)
    counts = rng.negative_binomial(5, 0.02, (n, n_genes)) + 1
    counts[rng.random(counts.shape) < zeros] = 0
    counts[rng.integers(0, n, n_genes), np.arange(n_genes)] = 0
    return counts


@pytest.mark.parametrize("method", ["tmm", "tmmwsp"])
def test_bulk_samples_with_a_zero_in_every_gene_get_their_factors(write_cohort, tmp_path, method):
    few = bulk(zeros=0.02)
    few[7, 5:] = 0
    for counts in (bulk(), few):
        assert (counts == 0).any(axis=0).all()
        table = pd.DataFrame({"lab": np.arange(len(counts)) % 2}, index=None).astype(str)
        cohort = write_cohort(counts, table, ["lab"])
        address = step.run(NormalizeParams(method=method), cohort, str(tmp_path / "W"))
        fit = size_factors.fit(method, in_memory(counts))
        found = open_normalized(address).obs()["size_factor"]
        np.testing.assert_allclose(found, fit.size_factor_S, rtol=1e-9)
        assert np.ptp(found) > 0.1


def test_single_cells_are_refused_by_tmm_and_not_by_tmmwsp(write_cohort, tmp_path):
    counts = np.maximum(bulk(zeros=0.85), np.eye(40, 300, dtype=int))
    table = pd.DataFrame({"lab": np.arange(40) % 2}).astype(str)
    cohort, w = write_cohort(counts, table, ["lab"]), str(tmp_path / "W")
    with pytest.raises(BadInput, match=r"tmm: 8[0-9]% of the counts are zero.*log1p_cpm.*tmmwsp"):
        step.run(NormalizeParams(method="tmm"), cohort, w)
    found = open_normalized(step.run(NormalizeParams(method="tmmwsp"), cohort, w)).obs()
    assert np.isfinite(found["size_factor"]).all()
