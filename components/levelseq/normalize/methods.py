"""The catalogue: each classical method, when to use it, where it comes from, what it uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from levelseq.errors import BadOption
from levelseq.normalize.params import MethodParams

__all__ = ["CATALOGUE", "Method", "check_options", "resolved"]

Kind = Literal["size factors", "transformation", "gene bias", "batch"]
_ALWAYS = {"method"}
_OWN_VALUES = ("transformation", "gene bias")
_READ_WITH = {
    "shrink_dispersion": "shrink",
    "shrink_genes": "shrink",
    "shrink_seed": "shrink_genes",
}


@dataclass(frozen=True)
class Method:
    """One method.

    Attributes:
        name: as `--method` takes it.
        kind: what it does.
        r: the call in R whose answer it gives; ours where R has none.
        when: when to use it.
        paper: where it was published.
        unit: of the values it writes; empty: those of its `values`.
        size_factors: the default; empty: it uses none.
        values: what it starts from by default; empty: counts.
        uses: params that it reads.
        whole: it needs each gene's whole row, so the counts are copied gene by gene to disk.
    """

    name: str
    kind: Kind
    r: str
    when: str
    paper: str
    unit: str = ""
    size_factors: str = ""
    values: str = ""
    uses: tuple[str, ...] = ()
    whole: bool = False

    @property
    def needs_batch(self) -> bool:
        """Whether it levels batches that must be named."""
        return self.kind == "batch" and self.name != "svaseq"

    @property
    def takes_given(self) -> bool:
        """Whether it can start from values that are no counts."""
        return "values" in self.uses and self.kind != "size factors" and self.name != "svaseq"


def _sizes(name: str, r: str, when: str, paper: str, *uses: str) -> Method:
    of_values = ("values", "prior_count", "trend", "trend_genes")
    return Method(name, "size factors", r, when, paper, "", name, "log1p_cpm", (*of_values, *uses))


_VST = ("trend", "trend_genes", "blind")
_SIZES = ("size_factors", "control_genes")
_DESIGN = ("condition", "covariates")
_SHRINK = ("shrink", "shrink_dispersion", "shrink_genes", "shrink_seed")
_LEVELLED = ("values", "prior_count", "trend", "trend_genes", *_SIZES, *_DESIGN)

_METHODS = (
    _sizes(
        "median_of_ratios",
        'DESeq2::estimateSizeFactors(type="ratio")',
        "bulk samples with many genes without a zero",
        "Anders & Huber 2010, Genome Biology 11:R106",
        "control_genes",
    ),
    _sizes(
        "poscounts",
        'DESeq2::estimateSizeFactors(dds, type="poscounts")',
        "every gene has a zero in some sample; geometric mean 1",
        "Love, Huber & Anders 2014, Genome Biology 15:550",
        "control_genes",
    ),
    _sizes(
        "poscounts_matrix",
        'DESeq2::estimateSizeFactorsForMatrix(type="poscounts")',
        "as poscounts, on the scale of the function for matrices",
        "Love, Huber & Anders 2014, Genome Biology 15:550",
        "control_genes",
    ),
    _sizes(
        "iterate",
        'DESeq2::estimateSizeFactors(type="iterate")',
        "few samples of which every gene has a zero in some; slow",
        "Love, Huber & Anders 2014, Genome Biology 15:550",
    ),
    _sizes(
        "tmm",
        'edgeR::calcNormFactors(method="TMM")',
        "bulk samples that differ in few, strongly expressed genes",
        "Robinson & Oshlack 2010, Genome Biology 11:R25",
    ),
    _sizes(
        "tmmwsp",
        'edgeR::calcNormFactors(method="TMMwsp")',
        "as tmm, where many genes are zero in one of a pair",
        "Robinson, McCarthy & Smyth 2010, Bioinformatics 26:139 (edgeR)",
    ),
    _sizes(
        "rle",
        'edgeR::calcNormFactors(method="RLE")',
        "as median_of_ratios, as edgeR scales it",
        "Anders & Huber 2010, Genome Biology 11:R106",
    ),
    _sizes(
        "upper_quartile",
        'edgeR::calcNormFactors(method="upperquartile")',
        "to repeat an older study",
        "Bullard et al. 2010, BMC Bioinformatics 11:94",
    ),
    _sizes(
        "library",
        "scuttle::librarySizeFactors",
        "single cells, and where total counts can be trusted",
        "McCarthy et al. 2017, Bioinformatics 33:1179",
    ),
    _sizes(
        "geometric",
        "scuttle::geometricSizeFactors",
        "tag counts such as antibodies",
        "McCarthy et al. 2017, Bioinformatics 33:1179",
    ),
    _sizes(
        "median",
        "scuttle::medianSizeFactors",
        "tag counts with few strong features",
        "McCarthy et al. 2017, Bioinformatics 33:1179",
    ),
    Method(
        "log1p_cpm",
        "transformation",
        "log1p of counts per million of the geometric mean library",
        "the default: streams, keeps zeros zero, suits every size",
        "Luecken & Theis 2019, Molecular Systems Biology 15:e8746",
        "log1p CPM",
        "library",
        "",
        _SIZES,
    ),
    Method(
        "normalized_counts",
        "transformation",
        "DESeq2::counts(dds, normalized=TRUE)",
        "counts on a common depth, not on a log scale",
        "Love, Huber & Anders 2014, Genome Biology 15:550",
        "normalized counts",
        "median_of_ratios",
        "",
        _SIZES,
    ),
    Method(
        "cpm",
        "transformation",
        "edgeR::cpm",
        "counts per million of the effective library",
        "Robinson, McCarthy & Smyth 2010, Bioinformatics 26:139",
        "CPM",
        "tmm",
        "",
        _SIZES,
    ),
    Method(
        "log_cpm",
        "transformation",
        "edgeR::cpm(log=TRUE)",
        "bulk log values with small counts damped: clustering, limma-trend",
        "Robinson, McCarthy & Smyth 2010, Bioinformatics 26:139",
        "log2 CPM",
        "tmm",
        "",
        (*_SIZES, "prior_count"),
    ),
    Method(
        "rpkm",
        "transformation",
        "edgeR::rpkm",
        "to compare genes of different length within a sample",
        "Mortazavi et al. 2008, Nature Methods 5:621",
        "RPKM",
        "tmm",
        "",
        _SIZES,
    ),
    Method(
        "tpm",
        "transformation",
        "1e6 rate / sum of rates, rate = count / length",
        "as rpkm, with the same sum in every sample",
        "Wagner, Kin & Lynch 2012, Theory in Biosciences 131:281",
        "TPM",
    ),
    Method(
        "vst",
        "transformation",
        "DESeq2::vst; with --trend-genes 0 varianceStabilizingTransformation",
        "bulk log values of even variance: clustering, distances, learning; in place of rlog",
        "Anders & Huber 2010, Genome Biology 11:R106",
        "VST, log2",
        "median_of_ratios",
        "",
        (*_SIZES, *_VST, *_DESIGN),
    ),
    Method(
        "voom",
        "transformation",
        "limma::voom",
        "log2 CPM with a precision weight for each value, for linear models",
        "Law et al. 2014, Genome Biology 15:R29",
        "log2 CPM",
        "tmm",
        "",
        (*_SIZES, *_DESIGN),
    ),
    Method(
        "pearson_residuals",
        "transformation",
        "scanpy's normalize_pearson_residuals (no R)",
        "single cells of UMI counts: variable genes, principal components",
        "Lause, Berens & Kobak 2021, Genome Biology 22:258",
        "Pearson residual",
    ),
    Method(
        "within_lane",
        "gene bias",
        "EDASeq::withinLaneNormalization, then betweenLaneNormalization by --between",
        "GC content or length bends the counts, and bends them differently in each sample",
        "Risso et al. 2011, BMC Bioinformatics 12:480",
        "counts",
        "",
        "",
        ("feature", "lane", "between", "rounded"),
    ),
    Method(
        "between_lane",
        "gene bias",
        "EDASeq::betweenLaneNormalization",
        "whole distributions differ between samples",
        "Bullard et al. 2010, BMC Bioinformatics 11:94",
        "counts",
        "",
        "",
        ("lane", "rounded"),
    ),
    Method(
        "quantile",
        "gene bias",
        "limma::normalizeQuantiles",
        "samples whose distributions should be the same: microarrays, one tissue",
        "Bolstad et al. 2003, Bioinformatics 19:185",
        "",
        "tmm",
        "log_cpm",
        ("values", "prior_count", "trend", "trend_genes", *_SIZES),
    ),
    Method(
        "combat",
        "batch",
        "sva::ComBat",
        "known batches; the usual choice for log values",
        "Johnson, Li & Rabinovic 2007, Biostatistics 8:118",
        "",
        "library",
        "log1p_cpm",
        (*_LEVELLED, "reference_batch", "prior", "mean_only"),
    ),
    Method(
        "combat_tree",
        "batch",
        "ours: ComBat whose levels shrink to their parents",
        "nested batches (site>lab>run), some of them small",
        "after Johnson, Li & Rabinovic 2007, Biostatistics 8:118",
        "",
        "library",
        "log1p_cpm",
        _LEVELLED,
    ),
    Method(
        "combat_seq",
        "batch",
        "sva::ComBat_seq",
        "known batches, and whole counts are needed after: DESeq2, edgeR",
        "Zhang, Parmigiani & Johnson 2020, NAR Genomics and Bioinformatics 2:lqaa078",
        "counts",
        "",
        "",
        (*_DESIGN, *_SHRINK),
        True,
    ),
    Method(
        "remove_batch_effect",
        "batch",
        "limma::removeBatchEffect",
        "known batches, one or two columns, for plots and clustering; no shrinkage",
        "Ritchie et al. 2015, Nucleic Acids Research 43:e47",
        "",
        "tmm",
        "log_cpm",
        (*_LEVELLED, "second_batch", "removed"),
    ),
    Method(
        "svaseq",
        "batch",
        "sva::svaseq, its surrogate variables removed",
        "batches are not known; needs the condition to keep",
        "Leek 2014, Nucleic Acids Research 42:e161",
        "",
        "tmm",
        "log_cpm",
        (*_LEVELLED, "n_surrogates"),
        True,
    ),
    Method(
        "reference_ratio",
        "batch",
        "ours: log ratio to a reference material in each batch",
        "batch and condition cannot be told apart, and each batch has reference samples",
        "Yu et al. 2023, Genome Biology 24:201; Zheng et al. 2024, Nature Biotechnology 42:1133",
        "",
        "tmm",
        "log_cpm",
        (*[o for o in _LEVELLED if o not in _DESIGN], "reference_samples"),
    ),
)
CATALOGUE = {method.name: method for method in _METHODS}


def resolved(params: MethodParams) -> tuple[Method, str, str]:
    """The method, its size factors and its values, defaults filled in; empty: none.

    Raises:
        BadOption: an option was given that the method does not use.
    """
    method = CATALOGUE[params.method]
    check_options(params)
    # A transformation is its own kind of values; voom and combat_seq start from counts.
    own = method.name if method.kind in _OWN_VALUES and method.name != "voom" else ""
    values = params.values or method.values or own
    sizes = params.size_factors or method.size_factors
    _check_values(params, values)
    if params.values in ("vst", "normalized_counts") and not params.size_factors:
        # What R's own functions use for these values.
        sizes = method.size_factors if method.kind == "size factors" else "median_of_ratios"
    return method, "" if values == "given" else sizes, values


def check_options(params: MethodParams) -> None:
    """Refuse options that were given and that the method would not read, or cannot.

    Raises:
        BadOption: names the option, and the methods that use it.
    """
    method = CATALOGUE[params.method]
    if params.values == "given" and "values" in method.uses and not method.takes_given:
        raise BadOption(
            f"{method.name} starts from counts, not from values that are given",
            where="--values",
            do=f"'given' is for {', '.join(m.name for m in _METHODS if m.takes_given)}",
        )
    for name, other in _READ_WITH.items():
        if name in method.uses and not getattr(params, other) and _chosen(params, name):
            told = f"--{other.replace('_', '-')}"
            raise BadOption(
                f"is read with {told} alone", where=f"--{name.replace('_', '-')}", do=f"give {told}"
            )
    for name in MethodParams.model_fields:
        if name in _ALWAYS or name in method.uses or not _chosen(params, name):
            continue
        users = [other.name for other in _METHODS if name in other.uses]
        raise BadOption(
            f"{method.name} does not use it",
            where=f"--{name.replace('_', '-')}",
            do=f"it is for {', '.join(users)}",
        )


_READ_BY_VALUES = {"prior_count": ("log_cpm",), "trend": ("vst",), "trend_genes": ("vst",)}


def _check_values(params: MethodParams, values: str) -> None:
    """Refuse what only other values than these would read."""
    for name, readers in _READ_BY_VALUES.items():
        if values not in readers and _chosen(params, name):
            raise BadOption(
                f"is read by {readers[0]} values, and these are {values or 'counts'}",
                where=f"--{name.replace('_', '-')}",
                do=f"give --values {readers[0]}",
            )
    for name in ("size_factors", "control_genes"):
        if values == "given" and _chosen(params, name):
            raise BadOption(
                "values that are given rest on none", where=f"--{name.replace('_', '-')}"
            )


def _chosen(params: MethodParams, name: str) -> bool:
    """Whether an option was given, and not as what it is anyway."""
    given = name in params.model_fields_set
    return given and getattr(params, name) != MethodParams.model_fields[name].default
