"""The commands, grouped as `levelseq --help` shows them."""

from levelseq_pipelines.commands.command import Command
from levelseq_pipelines.commands.files import EXPORT, SIMULATE
from levelseq_pipelines.commands.history import BASELINES, MODELS
from levelseq_pipelines.commands.kubeflow import COMPILE
from levelseq_pipelines.commands.run import RUN
from levelseq_pipelines.commands.schema import SCHEMA
from levelseq_pipelines.commands.steps import (
    INGEST,
    NORMALIZE,
    PLAN,
    RECALIBRATE,
    TRAIN,
    VALIDATE,
)
from levelseq_pipelines.commands.submit import SUBMIT
from levelseq_pipelines.commands.withdraw import WITHDRAW

__all__ = ["GROUPS", "Command"]

GROUPS: dict[str, tuple[Command, ...]] = {
    "the whole way, on this machine": (RUN,),
    "step by step": (PLAN, INGEST, NORMALIZE, TRAIN, VALIDATE, RECALIBRATE),
    "files in, files out": (SIMULATE, EXPORT, SCHEMA),
    "history": (MODELS, BASELINES, WITHDRAW),
    "in a cluster, at a batch service": (COMPILE, SUBMIT),
}
