"""Whatever the counts, each method gives finite numbers, or one line that says where and why.

What may be refused, and in which words, stands in `refusals`; everything else gives numbers.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import pytest

from levelseq.errors import BadInput
from levelseq.normalize import (
    between_lane,
    combat,
    combat_seq,
    combat_tree,
    cpm,
    gene_length,
    log1p_cpm,
    pearson_residuals,
    quantile,
    reference_ratio,
    remove_batch_effect,
    size_factors,
    surrogate_variables,
    voom,
    vst,
    within_lane,
)
from levelseq.normalize.chunks import in_memory
from levelseq.normalize.design import Design

from .refusals import IN_FIT, IN_NEW_SAMPLES

N_SAMPLES, N_GENES = 14, 160


class Case(NamedTuple):
    """Counts, and what is known of samples and genes."""

    x: np.ndarray
    batch: list[str]
    condition: list[str]
    feature: np.ndarray

    @property
    def log(self):
        return np.log1p(self.x)

    @property
    def mod(self):
        return np.stack([np.ones(len(self.x)), [c == "b" for c in self.condition]], axis=1)

    @property
    def paths(self):
        return [(one, f"{one}{i % 3}") for i, one in enumerate(self.batch)]

    @property
    def design(self):
        return Design(self.batch, {"condition": self.condition})


def usual():
    random = np.random.default_rng(12)
    mean = np.exp(random.normal(3, 1.2, N_GENES))
    depth = random.uniform(0.5, 2, N_SAMPLES)
    x = random.negative_binomial(8, 8 / (8 + depth[:, None] * mean)).astype(float)
    batch = ["x"] * 7 + ["y"] * 7
    return Case(x, batch, ["a", "b"] * 7, random.uniform(0.3, 0.7, N_GENES))


def zero_genes():
    case = usual()
    case.x[:, :9] = 0
    return case


def constant_genes():
    case = usual()
    case.x[:, :9] = 7
    return case


def genes_that_follow_the_batch():
    case = usual()
    case.x[:7, :9], case.x[7:, :9] = 3, 60
    case.x[:7, 9:14] = 0
    return case


def genes_that_follow_the_condition():
    case = usual()
    case.x[::2, :9], case.x[1::2, :9] = 0, 40
    return case


def zero_sample():
    case = usual()
    case.x[4] = 0
    return case


def zero_sample_and_zero_genes():
    case = zero_genes()
    case.x[13] = 0
    return case


def one_sample_batch():
    return usual()._replace(batch=["x"] * 7 + ["y"] * 6 + ["z"])


def batches_of_one():
    return usual()._replace(batch=[f"b{i}" for i in range(N_SAMPLES)])


def one_batch():
    return usual()._replace(batch=["x"] * N_SAMPLES)


def batch_is_condition():
    return usual()._replace(condition=["a"] * 7 + ["b"] * 7)


def everything_constant():
    case = usual()
    case.x[:] = 5
    return case


def everything_zero():
    case = usual()
    case.x[:] = 0
    return case


def every_sample_the_same():
    case = usual()
    case.x[:] = case.x[0]
    return case


def two_samples():
    case = usual()
    rows = [0, 7]
    return Case(case.x[rows], ["x", "y"], ["a", "b"], case.feature)


def one_sample():
    case = usual()
    return Case(case.x[:1], ["x"], ["a"], case.feature)


def one_gene():
    case = usual()
    return Case(case.x[:, :1], case.batch, case.condition, case.feature[:1])


def one_gene_has_nearly_all():
    case = usual()
    case.x[:, 1:] = 0
    case.x[3, 5] = 1
    case.x[:, 0] = 1e6
    return case


def constant_feature():
    return usual()._replace(feature=np.full(N_GENES, 0.5))


CASES = (
    zero_genes,
    constant_genes,
    genes_that_follow_the_batch,
    genes_that_follow_the_condition,
    zero_sample,
    zero_sample_and_zero_genes,
    one_sample_batch,
    batches_of_one,
    one_batch,
    batch_is_condition,
    everything_constant,
    everything_zero,
    every_sample_the_same,
    two_samples,
    one_sample,
    one_gene,
    one_gene_has_nearly_all,
    constant_feature,
)


def sizes(method):
    def run(new, old):
        fit = size_factors.fit(method, in_memory(old.x))
        assert (fit.size_factor_S > 0).all()
        factor_S = size_factors.apply(in_memory(new.x), fit.state)
        assert (factor_S > 0).all()
        return [fit.size_factor_S, factor_S]

    return run


def run_combat(new, old, **options):
    state = combat.fit(old.log, old.design, **options)
    return [combat.apply(new.log, new.design, state)]


def run_tree(new, old):
    state = combat_tree.fit(old.log, old.paths, {"condition": old.condition})
    return [combat_tree.apply(new.log, new.paths, state, {"condition": new.condition})]


def run_combat_seq(new, old):
    state = combat_seq.fit(old.x, old.batch, group=old.condition)
    return [combat_seq.apply(new.x, new.batch, state, group=new.condition)]


def run_remove(new, old):
    state = remove_batch_effect.fit(old.log, old.batch, design_SK=old.mod)
    return [remove_batch_effect.apply(new.log, new.batch, state)]


def run_ratio(new, old):
    state = reference_ratio.fit(old.log, old.batch, np.arange(len(old.x)) % 3 == 0)
    return [reference_ratio.apply(new.log, new.batch, state)]


def run_surrogates(new, old, **options):
    state = surrogate_variables.fit(old.log, old.mod, **options)
    return [surrogate_variables.apply(new.log, state), state.surrogate_SV]


def run_supervised(new, old):
    return run_surrogates(new, old, n_surrogates=1, control_G=np.linspace(0, 1, old.x.shape[1]))


def run_quantile(new, old):
    return [quantile.apply(new.log, quantile.fit(old.log))]


def run_between(new, old, which):
    return [between_lane.apply(new.x, between_lane.fit(old.x, which))]


def run_within(new, old, which):
    return [within_lane.apply(new.x, within_lane.fit(old.feature, which))]


def run_vst(new, old, **options):
    state = vst.fit(old.x, np.ones(len(old.x)), **options)
    return [vst.apply(new.x, np.ones(len(new.x)), state)]


def run_log1p_cpm(new, old):
    state = log1p_cpm.fit(old.x)
    factor = log1p_cpm.apply(new.x, state)
    return [log1p_cpm.values(new.x, factor, state.reference_library), factor]


def run_cpm(new, old):
    state = cpm.fit(old.x.sum(axis=1))
    library = new.x.sum(axis=1)
    return [cpm.apply(new.x, library, state), cpm.cpm(new.x, library)]


def run_length(new, old):
    library, length = new.x.sum(axis=1), 1000 * old.feature
    return [gene_length.tpm(new.x, length), gene_length.rpkm(new.x, library, length)]


def run_voom(new, old):
    state = voom.fit(old.x, old.x.sum(axis=1), old.mod)
    return list(voom.apply(new.x, new.x.sum(axis=1), state, new.mod))


def run_residuals(new, old):
    return [pearson_residuals.apply(new.x, pearson_residuals.fit(old.x))]


def chosen(run, **options):
    return lambda new, old: run(new, old, **options)


METHODS = {
    **{name: sizes(name) for name in size_factors.METHODS},
    "combat": run_combat,
    "combat mean only": chosen(run_combat, mean_only=True),
    "combat non-parametric": chosen(run_combat, prior="nonparametric"),
    "combat reference": chosen(run_combat, reference_batch="x"),
    "combat_tree": run_tree,
    "combat_seq": run_combat_seq,
    "remove_batch_effect": run_remove,
    "reference_ratio": run_ratio,
    "surrogates irw": chosen(run_surrogates, n_surrogates=1),
    "surrogates by number": run_surrogates,
    "surrogates two-step": chosen(run_surrogates, n_surrogates=1, method="two-step"),
    "surrogates supervised": run_supervised,
    "quantile": run_quantile,
    **{f"between {w}": chosen(run_between, which=w) for w in ("full", "median", "upper")},
    **{f"within {w}": chosen(run_within, which=w) for w in ("full", "loess", "median", "upper")},
    "vst parametric": chosen(run_vst, n_genes=0),
    "vst local": chosen(run_vst, n_genes=0, trend="local"),
    "vst mean": chosen(run_vst, n_genes=0, trend="mean"),
    "log1p_cpm": run_log1p_cpm,
    "cpm": run_cpm,
    "length": run_length,
    "voom": run_voom,
    "pearson_residuals": run_residuals,
}


def numbers(result):
    """The arrays of a result, of which there must be some, with values in them."""
    arrays = [np.asarray(getattr(part, "toarray", lambda part=part: part)()) for part in result]
    assert arrays
    assert arrays[0].size
    return arrays


def check(method, new, old, words):
    """Finite numbers; or, where there are words, one line that holds them and says where."""
    if words is None:
        for array in numbers(METHODS[method](new, old)):
            assert np.isfinite(array).all()
        return
    with pytest.raises(BadInput, match=re.escape(words)) as refused:
        METHODS[method](new, old)
    assert refused.value.where
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("method", METHODS)
def test_usual_counts_are_not_refused(method):
    check(method, usual(), usual(), None)


def test_what_is_refused_is_tested():
    names = {case.__name__ for case in CASES}
    for method, case in {**IN_FIT, **IN_NEW_SAMPLES}:
        assert method in METHODS
        assert case in names


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("method", METHODS)
def test_odd_counts_give_finite_numbers_or_one_line(method, case):
    check(method, case(), case(), IN_FIT.get((method, case.__name__)))


@pytest.mark.parametrize(
    "case", [one for one in CASES if one is not one_gene], ids=lambda case: case.__name__
)
@pytest.mark.parametrize("method", METHODS)
def test_odd_new_samples_give_finite_numbers_or_one_line(method, case):
    check(method, case(), usual(), IN_NEW_SAMPLES.get((method, case.__name__)))
