"""`python -m levelseq.simulate.estimate FOLDER [FILE]`: the table of effects as JSON."""

from __future__ import annotations

import sys
from pathlib import Path

from levelseq.errors import BadOption, LevelseqError
from levelseq.simulate.estimate.table import as_json, estimate


def main(arguments: list[str]) -> int:
    """Estimate the table and print or write it; the exit code."""
    try:
        if len(arguments) not in (1, 2):
            raise BadOption(
                "takes a folder of real sets and, if wished, a file to write",
                where="python -m levelseq.simulate.estimate",
            )
        text = as_json(estimate(Path(arguments[0])))
    except LevelseqError as error:
        print(error, file=sys.stderr)
        return error.code
    if len(arguments) == 2:
        Path(arguments[1]).write_text(text)
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
