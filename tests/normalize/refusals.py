"""Which odd counts of `test_finite` each method refuses, and in which words."""

from __future__ import annotations

__all__ = ["IN_FIT", "IN_NEW_SAMPLES"]

Table = dict[tuple[str, str], str]

# Methods, by what they need.
_RATIOS = ("median_of_ratios", "poscounts", "poscounts_matrix")
_TRIMMED = ("tmm", "tmmwsp", "rle", "upper_quartile")
_MEANS = ("library", "geometric", "log1p_cpm", "pearson_residuals")
_COMBAT = ("combat", "combat mean only", "combat non-parametric", "combat reference")
_SURROGATES = tuple(f"surrogates {w}" for w in ("irw", "by number", "two-step", "supervised"))
_VST = ("vst parametric", "vst local", "vst mean")
_WITHIN = ("within full", "within loess", "within median", "within upper")
_MEDIAN = ("between median", "within median")
_UPPER = ("between upper", "within upper")
_LIBRARIES = ("cpm", "length")

# Cases, by what is odd about them.
_EMPTY = ("zero_sample", "zero_sample_and_zero_genes")
_NOTHING = ("everything_zero",)
_ALIKE = ("everything_constant", "everything_zero", "every_sample_the_same")
_ONE_GENE_COUNTS = ("one_gene_has_nearly_all",)
_CONFOUNDED = ("batches_of_one", "batch_is_condition", "two_samples")
_ONE_BATCH = ("one_batch", "one_sample")
_NEW_BATCHES = ("one_sample_batch", "batches_of_one")


def _table(*groups: tuple[str, tuple[str, ...], tuple[str, ...]]) -> Table:
    """(method, case) -> words; no pair twice."""
    pairs = [
        ((method, case), words)
        for words, methods, cases in groups
        for method in methods
        for case in cases
    ]
    table = dict(pairs)
    assert len(table) == len(pairs)
    return table


_OF_ANY = (
    ("has no counts", (*_RATIOS, *_TRIMMED), (*_EMPTY, *_NOTHING)),
    ("has no counts", ("median",), _EMPTY),
    ("has library size 0", _LIBRARIES, (*_EMPTY, *_NOTHING)),
    ("its median is zero", _MEDIAN, (*_EMPTY, *_NOTHING, *_ONE_GENE_COUNTS)),
    ("its upper quartile is zero", _UPPER, (*_EMPTY, *_NOTHING, *_ONE_GENE_COUNTS)),
    (
        "has counts of too few genes for a trend",
        ("within loess",),
        (*_EMPTY, *_NOTHING, *_ONE_GENE_COUNTS),
    ),
    ("no counts of the genes that every batch has", ("combat_seq",), _EMPTY),
)

IN_FIT = _table(
    *_OF_ANY,
    ("no sample has counts", (*_MEANS, "median"), _NOTHING),
    ("has no counts", ("iterate",), (*_EMPTY, *_NOTHING, "one_gene")),
    (
        "dispersion has no trend",
        ("iterate",),
        ("everything_constant", "every_sample_the_same", *_ONE_GENE_COUNTS),
    ),
    ("leave no replicates", ("iterate", *_VST), ("one_sample",)),
    ("dispersion has no trend", _VST, (*_ALIKE, *_ONE_GENE_COUNTS)),
    ("is confounded with", _COMBAT[:3], _CONFOUNDED),
    ("is confounded with", ("combat reference",), ("batch_is_condition",)),
    ("no batch 'x'", ("combat reference",), ("batches_of_one",)),
    ("has one sample, so no variance", ("combat reference",), ("two_samples",)),
    ("is confounded with", ("combat_tree", "combat_seq"), _CONFOUNDED),
    ("differ as the design does", ("remove_batch_effect",), _CONFOUNDED),
    ("has one batch", (*_COMBAT, "combat_seq", "remove_batch_effect"), _ONE_BATCH),
    ("has one batch", ("combat_tree",), ("one_sample",)),
    ("vary in every batch, and combat needs two", _COMBAT, (*_ALIKE, "one_gene")),
    ("vary in every batch, and combat needs two", _COMBAT, _ONE_GENE_COUNTS),
    ("vary within a batch, and two are needed", ("combat_tree",), (*_ALIKE, "one_gene")),
    ("vary within a batch, and two are needed", ("combat_tree",), _ONE_GENE_COUNTS),
    ("has one sample", ("combat_seq",), ("one_sample_batch",)),
    ("has no counts at all", ("combat_seq",), _NOTHING),
    (
        "has counts in every batch, and combat_seq needs two",
        ("combat_seq",),
        ("one_gene", *_ONE_GENE_COUNTS),
    ),
    ("no reference sample", ("reference_ratio",), (*_NEW_BATCHES, "two_samples")),
    ("surrogates need two", _SURROGATES, (*_ALIKE, *_ONE_GENE_COUNTS)),
    ("leave no degree of freedom", _SURROGATES, ("two_samples", "one_sample")),
    (
        "surrogates need two",
        ("surrogates irw", "surrogates two-step", "surrogates supervised"),
        ("one_gene",),
    ),
    ("too few genes", ("surrogates by number",), ("one_gene",)),
    ("not one number for each of two genes or more", _WITHIN, ("one_gene",)),
    ("is the same for all genes", _WITHIN, ("constant_feature",)),
    (
        "most genes do not vary beside the design",
        ("voom",),
        ("everything_constant", "every_sample_the_same"),
    ),
    ("0 genes have counts, and a trend needs two", ("voom",), _NOTHING),
    ("has one gene, and a trend needs two", ("voom",), ("one_gene",)),
)
"""Of a fit to the odd counts themselves."""

IN_NEW_SAMPLES = _table(
    *_OF_ANY,
    ("has no counts", ("iterate",), (*_EMPTY, *_NOTHING)),
    ("has no counts", ("median",), _NOTHING),
    ("no counts of the genes that every batch has", ("combat_seq",), _NOTHING),
    ("has no counts in half of the genes", ("rle", "median"), _ONE_GENE_COUNTS),
    ("its 0.75 quantile is 0", ("upper_quartile",), _ONE_GENE_COUNTS),
    ("was not in the fit", ("combat_seq", "remove_batch_effect"), _NEW_BATCHES),
    ("no reference sample", ("reference_ratio",), _NEW_BATCHES),
)
"""Of odd new samples, by a fit to usual ones."""
