"""Gene sets that must not be touched: read, placed, held against chance, and followed."""

import numpy as np
import pytest
from samples import without
from small_studies import draw, perfect
from test_governance import LEAST, comparisons

from levelseq.errors import BadOption
from levelseq.validate.gene_sets import parse_gmt, placed
from levelseq.validate.governance_gates import protected_gate
from levelseq.validate.protected import drivers_of, examine, share_by_chance

GENES = 300


@pytest.fixture(scope="module")
def study():
    return draw(cells=250, batches=4, seed=8)


def masks(**sets):
    return {name: np.isin(np.arange(GENES), list(genes)) for name, genes in sets.items()}


def judged(study, values, sets, removed=None):
    mean = study.log_cpm.mean(axis=0)
    sizes = [int(genes.sum()) for genes in sets.values()]
    found = examine(sets, sizes, removed, mean, comparisons(study, np.maximum(values, 0)), 0)
    return found, protected_gate(found, LEAST)


def test_a_gmt_file_is_sets_by_name():
    text = "﻿one\tabout\tA\tB\tA\t\n\ntwo\t\tC\r\n".encode()
    assert parse_gmt(text, "f.gmt") == {"one": ["A", "B"], "two": ["C"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"one\tabout", r"f\.gmt, line 1: is no gene set"),
        (b"one\ta\tA\none\ta\tB", r"line 2: the set 'one' is there twice"),
        (b"\n", "holds 0 gene sets"),
        (b"\xff\xfe\x00", "not a text file"),
        ("\n".join(f"s{i}\ta\tA" for i in range(501)).encode(), "holds 501"),
    ],
)
def test_another_file_is_one_clear_line(content, message):
    with pytest.raises(BadOption, match=message):
        parse_gmt(content, "f.gmt")


def test_genes_are_found_by_id_of_any_version_and_by_symbol():
    genes, symbols = ["ENSG01.3", "ENSG02", "ENSG03"], ["TP53", "", "IFIT1"]
    found = placed({"a": ["ENSG01.9", "IFIT1"], "b": ["ENSG02"], "c": ["X"]}, genes, symbols)
    assert [mask.tolist() for mask in found.values()] == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    with pytest.raises(BadOption, match=r"named like ENSG01\.3"):
        placed({"a": ["TP53"]}, genes, None)


def test_a_set_that_keeps_its_difference_passes(study):
    sets = masks(interferon=range(20), others=range(200, 230))
    found, gate = judged(study, perfect(study), sets)
    assert gate.outcome == "pass"
    assert "'interferon'" in gate.reason
    assert found[0].kept.slope.value == pytest.approx(1, abs=0.1)
    assert found[1].kept is None or found[1].kept.slope.value > 0.8


def test_a_set_that_loses_its_difference_is_refused_though_the_rest_stays(study):
    values = perfect(study)
    values[:, :8] = without(values, study.condition)[:, :8]
    gate = judged(study, values, masks(interferon=range(8), safe=range(8, 40)))[1]
    assert gate.outcome == "fail"
    assert "'interferon'" in gate.reason
    assert gate.interval[1] < 0.7


def test_no_set_and_an_unchanged_set_are_not_evaluated(study):
    assert judged(study, perfect(study), {})[1].outcome == "not_evaluated"
    gate = judged(study, perfect(study), masks(quiet=[290, 291]))[1]
    assert gate.outcome == "not_evaluated"


def test_a_set_that_holds_the_removed_batch_warns(study):
    removed = np.random.default_rng(0).random(GENES)
    removed[:15] += 10
    found, gate = judged(study, perfect(study), masks(a=range(15), b=range(100, 115)), removed)
    assert gate.outcome == "warn"
    assert "sits in 'a'" in gate.reason
    assert "'b'" not in gate.reason
    assert found[0].p == 2 * 0.001
    assert gate.p == found[0].p


def test_the_p_value_is_uniform_for_sets_that_are_nothing():
    """Genes with more counts tell more, and random sets of such genes do not stand out."""
    random = np.random.default_rng(1)
    mean = random.random(600)
    removed = mean**2 * random.random(600)
    p = []
    for _ in range(200):
        genes = np.zeros(600, dtype=bool)
        genes[random.choice(np.flatnonzero(mean > 0.7), 20, replace=False)] = True
        p.append(share_by_chance(genes, removed, mean, 0)[2])
    assert np.mean(np.array(p) < 0.05) <= 0.1
    assert np.mean(p) == pytest.approx(0.5, abs=0.08)


def test_drivers_are_the_fewest_genes_with_half_of_it():
    assert drivers_of(np.array([1.0, 5, 0, 4])).tolist() == [False, True, False, False]
    assert drivers_of(np.array([2.0, 3, 0, 3])).tolist() == [False, True, False, True]
    assert not drivers_of(np.zeros(3)).any()
