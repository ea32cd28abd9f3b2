"""Fit a model to a cohort."""

from levelseq.train.params import TrainParams

__all__ = ["TrainParams"]
