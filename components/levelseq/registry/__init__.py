"""What a run is judged against and what it changes: champion, decision log, baselines."""

from levelseq.registry.baselines import Baseline, Baselines, alike, series
from levelseq.registry.champion import Registry, describe
from levelseq.registry.change_record import as_markdown, change_record
from levelseq.registry.kind import Kind
from levelseq.registry.log import MOVES, DecisionLog
from levelseq.registry.runs import aside_of_job, remember_job, run_folder, run_id, run_of_job

__all__ = [
    "MOVES",
    "Baseline",
    "Baselines",
    "DecisionLog",
    "Kind",
    "Registry",
    "alike",
    "as_markdown",
    "aside_of_job",
    "change_record",
    "describe",
    "remember_job",
    "run_folder",
    "run_id",
    "run_of_job",
    "series",
]
