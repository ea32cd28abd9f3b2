import numpy as np
import pytest
from small_studies import draw, perfect

from levelseq.validate import mixing, scib
from levelseq.validate.neighbours import nearest
from levelseq.validate.unintegrated import combat_components, components, log_cp10k


@pytest.fixture(scope="module")
def study():
    return draw(seed=1)


@pytest.fixture(scope="module")
def before(study):
    return components(log_cp10k(study.counts, study.library))


@pytest.fixture(scope="module")
def after(study):
    return components(perfect(study))


def ilisi(x, batch):
    return scib.ilisi(nearest(x, 60, itself=True), batch)


def test_the_share_of_variance_is_principal_component_regression(study, before):
    from scib_metrics.utils import principal_component_regression

    published = principal_component_regression(before, study.batch, categorical=True)
    assert mixing.batch_variance(before, study.batch).share == pytest.approx(published, abs=1e-4)


def test_levelled_batches_pass_and_batches_as_they_came_fail(study, before, after):
    allowed = ilisi(after, mixing.permuted(study.batch, study.label, 0))
    earlier = ilisi(before, study.batch)
    assert allowed > earlier + 0.3
    for x, outcome in ((after, "pass"), (before, "fail")):
        gate = mixing.ilisi_gate(ilisi(x, study.batch), earlier, allowed, labelled=True)
        assert gate.outcome == outcome
        shares = [mixing.batch_variance(e, study.batch, study.label) for e in (x, before)]
        assert mixing.variance_gate(*shares, labelled=True).outcome == outcome
        shares = [mixing.batch_variance(e, study.batch) for e in (x, before)]
        assert mixing.variance_gate(*shares, labelled=False).outcome == outcome


def test_without_labels_poor_mixing_warns_since_it_may_be_composition(study, before):
    earlier = ilisi(before, study.batch)
    assert mixing.ilisi_gate(earlier, earlier, 0.9, labelled=False).outcome == "warn"


def test_without_a_batch_effect_there_is_nothing_to_remove():
    same = draw(batch_sd=0, seed=2)
    x = components(log_cp10k(same.counts, same.library))
    share = mixing.batch_variance(x, same.batch, same.label)
    gate = mixing.variance_gate(share, share, labelled=True)
    assert gate.outcome == "pass"
    assert "no batch effect to remove" in gate.reason


def test_a_batch_effect_that_levelling_puts_in_fails():
    same = draw(batch_sd=0, seed=2)
    x = components(log_cp10k(same.counts, same.library))
    moved = x + 3 * x.std() * (same.batch == "b0")[:, None]
    shares = [mixing.batch_variance(e, same.batch) for e in (moved, x)]
    assert mixing.variance_gate(*shares, labelled=False).outcome == "fail"


def test_a_difference_in_composition_is_no_batch_effect_within_labels():
    whole = draw(batch_sd=0, batches=2, cells=300, seed=3)
    keep = (whole.label == "type0") ^ (whole.batch == "b0")
    x = components(log_cp10k(whole.counts, whole.library))[keep]
    batch, label = whole.batch[keep], whole.label[keep]
    assert mixing.batch_variance(x, batch).excess > 0.1
    assert mixing.batch_variance(x, batch, label).excess < 0.01


def test_dealing_out_keeps_each_labels_batches(study):
    dealt = mixing.permuted(study.batch, study.label, 0)
    assert (dealt != study.batch).mean() > 0.3
    for label in np.unique(study.label):
        rows = study.label == label
        assert sorted(dealt[rows]) == sorted(study.batch[rows])


def test_combat_levels_too(study, before):
    x = combat_components(log_cp10k(study.counts, study.library), study.batch)
    shares = [mixing.batch_variance(e, study.batch, study.label) for e in (x, before)]
    assert mixing.variance_gate(*shares, labelled=True).outcome == "pass"
