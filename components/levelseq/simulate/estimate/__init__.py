"""Estimating the table of effects from real sets.

`python -m levelseq.simulate.estimate FOLDER` prints the table; with a second argument it is
written to that file.
"""

from levelseq.simulate.estimate.table import estimate

__all__ = ["estimate"]
