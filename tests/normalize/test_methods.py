"""The catalogue of methods: complete, and no option is ignored."""

from __future__ import annotations

import typing

import pytest

from levelseq.errors import BadOption
from levelseq.normalize.methods import CATALOGUE, resolved
from levelseq.normalize.params import MethodParams, NormalizeParams

CHOICES = typing.get_args(MethodParams.model_fields["method"].annotation)


def test_every_method_is_in_the_catalogue_with_its_paper():
    assert list(CATALOGUE) == list(CHOICES)
    for method in CATALOGUE.values():
        assert method.when
        assert method.r
        assert any(year in method.paper for year in map(str, range(2000, 2026)))
        assert set(method.uses) <= set(MethodParams.model_fields)


@pytest.mark.parametrize("name", CHOICES)
def test_an_option_that_a_method_would_ignore_is_refused_with_those_that_use_it(name):
    given = {
        "shrink": True,
        "feature": "length",
        "n_surrogates": 3,
        "second_batch": "x",
        "trend_genes": 500,
        "prior": "nonparametric",
    }
    for option, value in given.items():
        of_vst = option == "trend_genes" and "values" in CATALOGUE[name].uses
        params = MethodParams(method=name, values="vst" if of_vst else "", **{option: value})
        if option in CATALOGUE[name].uses:
            assert resolved(params)[0].name == name
        else:
            users = [m.name for m in CATALOGUE.values() if option in m.uses]
            shown = option.replace("_", "-")
            with pytest.raises(BadOption, match=f"--{shown}: {name} does not use it") as refused:
                resolved(params)
            assert all(user in str(refused.value) for user in users)


def test_options_that_other_values_read_are_refused():
    for name, values in (("combat", ""), ("tmm", "log_cpm"), ("quantile", "given")):
        with pytest.raises(BadOption, match="--trend: is read by vst values, and these are"):
            resolved(MethodParams(method=name, values=values, trend="local"))
    assert resolved(MethodParams(method="log_cpm", prior_count=1))[2] == "log_cpm"
    assert resolved(MethodParams(method="svaseq", prior_count=1))[2] == "log_cpm"


def test_defaults_are_those_of_the_r_function():
    assert resolved(MethodParams(method="vst"))[1:] == ("median_of_ratios", "vst")
    assert resolved(MethodParams(method="log_cpm"))[1:] == ("tmm", "log_cpm")
    assert resolved(MethodParams(method="combat_seq"))[1:] == ("", "")
    assert resolved(MethodParams(method="voom"))[1:] == ("tmm", "")
    assert resolved(MethodParams(method="combat"))[1:] == ("library", "log1p_cpm")
    assert resolved(MethodParams(method="combat", values="vst"))[1:] == ("median_of_ratios", "vst")
    assert resolved(MethodParams(method="combat", values="given"))[1:] == ("", "given")
    assert resolved(MethodParams(method="tmm", values="log_cpm"))[1:] == ("tmm", "log_cpm")
    chosen = MethodParams(method="combat", values="log_cpm", size_factors="tmm")
    assert resolved(chosen)[1:] == ("tmm", "log_cpm")


GIVEN = ("quantile", "combat", "combat_tree", "remove_batch_effect", "reference_ratio")


@pytest.mark.parametrize("name", [n for n in CHOICES if "values" in CATALOGUE[n].uses])
def test_given_values_are_for_methods_that_need_no_counts(name):
    params = MethodParams(method=name, values="given")
    if name in GIVEN:
        assert resolved(params)[1:] == ("", "given")
        return
    said = f"--values: {name} starts from counts.*'given' is for {', '.join(GIVEN)}"
    with pytest.raises(BadOption, match=said):
        resolved(params)


def test_a_cohort_has_counts_and_no_given_values():
    with pytest.raises(BadOption, match=r"--values: a cohort holds counts.*not 'given'"):
        NormalizeParams.checked(method="combat", values="given")
    assert NormalizeParams.checked(method="combat", values="vst").values == "vst"


def test_shrinkage_options_are_read_together():
    alone = MethodParams(method="combat_seq", shrink_genes=50)
    with pytest.raises(BadOption, match="--shrink-genes: is read with --shrink alone"):
        resolved(alone)
    with pytest.raises(BadOption, match="--shrink-genes: combat does not use it"):
        resolved(MethodParams(method="combat", shrink_genes=50))
    whole = MethodParams(method="combat_seq", shrink=True, shrink_genes=50, shrink_seed=3)
    assert resolved(whole)[0].name == "combat_seq"
