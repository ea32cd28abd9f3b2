"""Small studies as the sample that governance and generalization look at."""

from dataclasses import replace

import numpy as np
from small_studies import perfect

from levelseq.validate.sample import Sample, codes
from levelseq.validate.unintegrated import components


def sample_of(study, values=None, level=None, **changes):
    """A study levelled as well as can be, or to some values or embedding; donors are known."""
    values = perfect(study) if values is None else values
    found = Sample(
        input_CG=study.log_cpm,
        values_CG=values,
        level_CD=components(values).astype(float) if level is None else level,
        batch_C=codes(study.batch),
        site_C=codes(study.batch),
        donor_C=codes(study.donor),
        label_C=codes(study.label),
        condition_C=study.condition,
        levels=("run",),
        single=False,
    )
    return replace(found, **changes)


def without(x, condition):
    """Values from which the condition was regressed."""
    out = np.array(x, dtype=float)
    for level in np.unique(condition):
        rows = condition == level
        out[rows] += out.mean(axis=0) - out[rows].mean(axis=0)
    return out
