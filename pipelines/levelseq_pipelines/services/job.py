"""What a batch service is asked to run, in words that each service's request is made from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from levelseq.errors import BadOption
from levelseq.ingest.params import IngestParams
from levelseq.store import join, split_scheme
from levelseq.store.encryption import VARIABLES

__all__ = ["FORWARDED", "Job", "refuse_donors", "refuse_local", "run_words"]

# Settings of the stores, none of them secret, that the container needs as the submitter has them.
FORWARDED = (*VARIABLES, "AZURE_STORAGE_ACCOUNT_NAME")

_DIGEST = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")
_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(
    r"SECRET|PASSWORD|PASSWD|SAS_|TOKEN$|_PAT$|CONNECTION_STRING|CREDENTIALS$"
    r"|API_KEY|PRIVATE_KEY|(ACCESS|ACCOUNT|MASTER)_KEY$",
    re.IGNORECASE,
)
_MOST_RETRIES = 9


@dataclass(frozen=True)
class Job:
    """One container that runs `levelseq run` from deposits to verdict.

    It may be stopped at any moment and started again: what is done is found by its content and
    training goes on from `checkpoints`. It ends with levelseq's exit codes.

    Args:
        id: the job's name at the service: letters, digits and hyphens.
        image: a repository with a digest, so that a retry runs the same bytes.
        memory: in GiB; `cpu` in cores, `gpu` in devices.
        spot: whether machines may be taken away; None leaves it to the service's default.
        retries: after exit code 75 and after a machine was lost.
        hours: how long one attempt may take; None is the service's default.
        labels: on the job and on what it costs, where the service can.

    Raises:
        BadOption: the option that is wrong, and what it should be.
    """

    id: str
    image: str
    argv: tuple[str, ...]
    deposits: tuple[str, ...]
    workspace: str
    environment: Mapping[str, str] = field(default_factory=dict)
    cpu: int = 4
    memory: int = 16
    gpu: int = 0
    gpu_type: str = ""
    spot: bool | None = None
    retries: int = 3
    hours: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _DIGEST.fullmatch(self.image):
            raise BadOption(
                f"{self.image or 'no image'} has no digest",
                where="--image",
                do="use REPOSITORY@sha256:…, so that every attempt runs the same bytes",
            )
        refuse_local([self.workspace, *self.deposits])
        for option, value, least in (
            ("--cpu", self.cpu, 1),
            ("--memory", self.memory, 1),
            ("--gpu", self.gpu, 0),
            ("--retries", self.retries, 0),
        ):
            if value < least:
                raise BadOption(f"is {value}, less than {least}", where=option)
        if self.retries > _MOST_RETRIES:
            raise BadOption(f"is {self.retries}, more than {_MOST_RETRIES}", where="--retries")
        if self.hours is not None and not 0 < self.hours <= 24 * 14:
            raise BadOption(f"is {self.hours} hours", where="--time-limit", do="use up to 336")
        _check_labels(self.labels)
        _check_environment(self.environment)

    @property
    def checkpoints(self) -> str:
        """Where training writes what a later attempt goes on from."""
        return join(self.workspace, "checkpoints")

    @property
    def seconds(self) -> int:
        """How long one attempt may take, a day where nothing was said."""
        return round((24 if self.hours is None else self.hours) * 3600)


def run_words(
    pipeline: str, deposits: list[str], workspace: str, name: str, options: Mapping[str, Any]
) -> tuple[str, ...]:
    """`levelseq run …` as a container's argument vector."""
    words = ["levelseq", "run", f"--pipeline={pipeline}", f"--workspace={workspace}"]
    words.append(f"--name={name}")
    for option, value in sorted(options.items()):
        flag = f"--{option.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{option.replace('_', '-')}")
        else:
            values = value if isinstance(value, list) else [value]
            words += [f"{flag}={one}" for one in values]
    # Last, since it takes every word that follows.
    return (*words, "--deposits", *deposits)


def refuse_local(addresses: Iterable[str]) -> None:
    """BadOption for a path of this machine, which no container elsewhere can read."""
    for address in addresses:
        if split_scheme(address)[0] == "file":
            raise BadOption("is a path of this machine", where=address, do="use an object store")


def refuse_donors(study: IngestParams) -> None:
    """BadOption for a rule on the donors: a service keeps and shows what it was asked to run."""
    if study.donor and any(rule.column == study.donor for rule in study.keep_rules):
        raise BadOption(
            "a rule on the donor column would stand in the job's description",
            where="--keep",
            do="leave the observations out of the deposit's metadata table,"
            " or use `levelseq withdraw`",
        )


def _check_labels(labels: Mapping[str, str]) -> None:
    for key, value in labels.items():
        if not (_LABEL.fullmatch(key) and _LABEL_VALUE.fullmatch(value)):
            raise BadOption(
                f"{key}={value} is not a label that every service takes",
                where="--cost-label",
                do="use lower-case letters, digits, - and _, at most 63",
            )


def _check_environment(environment: Mapping[str, str]) -> None:
    for name in environment:
        if not _VARIABLE.fullmatch(name):
            raise BadOption(f"{name!r} is not a variable's name", where="--env")
        if _SECRET.search(name):
            raise BadOption(
                f"{name} is a secret, and would stand in the job's description",
                where="--env",
                do="give the job a role or identity of the service instead",
            )
