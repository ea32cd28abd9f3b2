"""What a run is judged against and what it changes: champion, decision log, baselines."""

from levelseq.registry.baselines import Baselines
from levelseq.registry.champion import Registry, describe
from levelseq.registry.log import MOVES, DecisionLog
from levelseq.registry.runs import run_folder, run_id

__all__ = ["MOVES", "Baselines", "DecisionLog", "Registry", "describe", "run_folder", "run_id"]
