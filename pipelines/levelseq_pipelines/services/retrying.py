"""The command with its own retries, for services whose retries do not look at exit codes."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

__all__ = ["retrying"]

# The image has no `sleep`: a shell and Python are all that it keeps.
_LOOP = (
    "n=0; while :; do c=0; {command} || c=$?; "
    'if [ "$c" -ne 75 ] || [ "$n" -ge {retries} ]; then exit "$c"; fi; '
    'n=$((n+1)); python3 -c "import time; time.sleep($((60*n)))"; done'
)


def retrying(argv: Sequence[str], retries: int) -> str:
    """A POSIX shell line that runs `argv` again after exit code 75 and ends with its last code."""
    return _LOOP.format(command=shlex.join(argv), retries=retries)
