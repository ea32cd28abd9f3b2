"""One request to a service, as its SDK takes it and as `--dry-run` shows it."""

from __future__ import annotations

import base64
import importlib
import json
from collections.abc import Iterable
from types import ModuleType
from typing import Any, NamedTuple

from levelseq.errors import BadOption

__all__ = ["Call", "as_json", "sdk"]


class Call(NamedTuple):
    """An operation's name and its whole request, in the service's own keys."""

    operation: str
    request: dict[str, Any]


def as_json(service: str, calls: Iterable[Call]) -> str:
    """What `--dry-run` prints; bytes are base64, as in every service's REST form."""
    content = {"service": service, "calls": [call._asdict() for call in calls]}
    return json.dumps(content, indent=2, default=lambda raw: base64.b64encode(raw).decode())


def sdk(module: str, extra: str) -> ModuleType:
    """A service's SDK.

    Raises:
        BadOption: it is not installed; says which extra brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BadOption(
            f"{module} is not installed",
            where=f"--service {extra}",
            do=f"pip install 'levelseq[{extra}]', or see the request with --dry-run",
        ) from error
