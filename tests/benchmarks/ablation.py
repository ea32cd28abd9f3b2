"""`make bench-ablation`: what each term of the model is worth, one left out at a time.

usage: ablation.py [SET ...] [--seeds N] [--out FILE.md]

scIB totals (scib-metrics' default metrics) of the levelled embedding, means over seeds and sets;
no labels in training but in the last line.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from integration import counts_of, shared
from real import SETS
from studies import ingested

from levelseq.cohort import open_cohort
from levelseq.ingest.params import IngestParams
from levelseq.models import cluster_metric, embedding, latent_levelling, networks, training
from levelseq.models import sparse_minibatches
from levelseq.models.saving import load_model
from levelseq.normalize import step as normalize
from levelseq.normalize.params import NormalizeParams
from levelseq.train import step as train
from levelseq.train.params import TrainParams
from levelseq.validate import scib
from levelseq.validate.unintegrated import components, log_cp10k

Patches = Callable[[], Iterator[None]]
