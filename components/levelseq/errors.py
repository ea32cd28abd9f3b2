"""Every error that levelseq raises on purpose, with the exit code a shell or a pod sees.

LevelseqError
├── BadInput          2   a file, column, sample or option is wrong; a retry changes nothing
│   ├── BadDeposit        a deposit or the sheet that lists it
│   ├── BadOption         an option or parameter
│   └── BadAddress        an address that names no store, or nothing there
├── Refused           3   the final verdict refuses the data
└── Retryable        75   a retry can mend it
    ├── StoreUnavailable  the object store did not answer
    └── Conflict          somebody else changed a mutable object first
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "BadAddress",
    "BadDeposit",
    "BadInput",
    "BadOption",
    "Conflict",
    "LevelseqError",
    "Refused",
    "Retryable",
    "StoreUnavailable",
    "from_json",
]


class LevelseqError(Exception):
    """What was wrong, where, and what to do about it.

    Args:
        message: what is wrong, one clause, no full stop.
        where: the address, column or sample.
        do: the way out, one clause.
    """

    code = 1

    def __init__(self, message: str, *, where: str = "", do: str = "") -> None:
        super().__init__(message)
        self.message = " ".join(message.split())
        self.where = where
        self.do = do

    def __str__(self) -> str:
        line = f"{self.where}: {self.message}" if self.where else self.message
        return f"{line} ({self.do})" if self.do else line

    def as_json(self) -> dict[str, Any]:
        """The content of `error.json`."""
        return {
            "code": self.code,
            "type": type(self).__name__,
            "message": self.message,
            "where": self.where,
            "do": self.do,
        }


class BadInput(LevelseqError):
    """The input is wrong; a retry changes nothing."""

    code = 2


class BadDeposit(BadInput):
    """A deposit, or the sheet that lists it, cannot be read as counts."""


class BadOption(BadInput):
    """An option or parameter is wrong."""


class BadAddress(BadInput):
    """An address names no store, or there is nothing at it."""


class Refused(LevelseqError):
    """The final verdict refuses the data."""

    code = 3


class Retryable(LevelseqError):
    """A retry can mend it."""

    code = 75


class StoreUnavailable(Retryable):
    """The object store did not answer."""


class Conflict(Retryable):
    """Somebody else changed a mutable object first."""


def from_json(content: dict[str, Any]) -> LevelseqError:
    """The error that `error.json` holds."""
    kind = _kinds(LevelseqError).get(content["type"], LevelseqError)
    return kind(content["message"], where=content["where"], do=content["do"])


def _kinds(kind: type[LevelseqError]) -> dict[str, type[LevelseqError]]:
    below = (_kinds(child) for child in kind.__subclasses__())
    return {kind.__name__: kind} | {name: found for kinds in below for name, found in kinds.items()}
