"""`make bench-cohort-confidence`: the governance gate on the condition, for many embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np

from levelseq.validate.drivers import centred
from levelseq.validate.evidence import Evidence, subsample
from levelseq.validate.governance import Governed, distance_kept
from levelseq.validate.held_out import balanced_accuracy, folds, held_out, measured, recall
from levelseq.validate.sample import SAMPLE
from levelseq.validate.targets import apart_of_condition, levels_of, told_apart, within_batches


class ConditionTold:
    """How well each level of the condition is told from an embedding, in donors not seen.

    As `govern` does it for the embedding alone, and what does not depend on it once.
    """

    def __init__(self, evidence: Evidence, seed: int) -> None:
        self.seed, sample = seed, evidence.sample
        self.rows = subsample(evidence.batch_C, SAMPLE, seed)
        self.targets: list[tuple[Any, ...]] = []
        for level, base in levels_of(sample):
            within = within_batches(sample, level, base)
            apart = apart_of_condition(sample, within)
            class_C = told_apart(np.where(apart[0] < 0, -1, within))
            if class_C is None or not apart[1]:
                continue
            rows = class_C >= 0
            class_C, group_C, stratum_C = class_C[rows], apart[0][rows], sample.batch_C[rows]
            fold_C = folds(group_C, class_C, 6)
            if len(np.unique(group_C)) < 2:
                continue
            given = [class_C], fold_C, seed, [evidence.level_CD.shape[1]]
            small = held_out(centred(sample.input_CG[rows], stratum_C), *given)[0]
            small = recall(class_C, small, group_C)
            self.targets.append((level, base, rows, class_C, group_C, stratum_C, fold_C, small))

    def of(self, level_CD: np.ndarray) -> list[Governed]:
        """What the gate `governance.condition_embedding` is judged from."""
        found = []
        for level, base, rows, class_C, group_C, stratum_C, fold_C, small in self.targets:
            x = centred(level_CD[self.rows][rows].astype(np.float64), stratum_C)
            told = recall(class_C, held_out(x, [class_C], fold_C, self.seed)[0], group_C)
            accuracy = {
                "input": measured(balanced_accuracy, small),
                "embedding": measured(balanced_accuracy, told),
                "values": measured(balanced_accuracy, told),
            }
            kept = measured(distance_kept, small, told)
            found.append(
                Governed(
                    "condition",
                    level,
                    base,
                    2,
                    "donor",
                    len(np.unique(group_C)),
                    None,
                    accuracy,
                    accuracy["input"],
                    {"embedding": kept, "values": kept},
                )
            )
        return found
