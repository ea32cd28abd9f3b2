"""A study drawn with effects that were measured on real sets, and its truth beside it."""

from levelseq.simulate.params import SimulateParams

__all__ = ["SimulateParams"]
