"""The command line: `levelseq COMMAND …`.

The last line on stdout is the address of what was written; everything else goes to stderr. Exit
codes: 2 bad input, 3 the verdict refuses the data, 75 worth another try, 1 a bug with traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence

from levelseq import __version__
from levelseq.errors import BadOption, LevelseqError
from levelseq.progress import speaks
from levelseq_pipelines.commands import GROUPS
from levelseq_pipelines.options import Parser

__all__ = ["main", "parser"]

_QUIET = "LEVELSEQ_QUIET"
_ABOUT = """\
Takes count matrices from many labs and gives back one cohort that can be compared: technical
differences levelled, biology standing, and a verdict that says how far to trust it.

  levelseq run                                         a simulated study, from deposits to verdict
  levelseq run --deposits sheet.csv --batch 'site>run'   your own: one row a deposit
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, and give the exit code."""
    try:
        args = parser().parse_args(argv)
        if not hasattr(args, "work"):
            raise BadOption("no command was given", do="see levelseq --help")
        with _quiet(args.quiet):
            address = args.work(args)
    except LevelseqError as error:
        print(f"levelseq: {error}", file=sys.stderr)
        return error.code
    except BrokenPipeError:
        # Whoever read our output has enough of it, as `| head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("levelseq: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    if address and speaks():
        print(address)
    return 0


@contextlib.contextmanager
def _quiet(asked: bool) -> Iterator[None]:
    """Say less while a command works, in this process and those that it starts."""
    before = os.environ.get(_QUIET)
    if asked:
        os.environ[_QUIET] = "1"
    try:
        yield
    finally:
        if asked:
            if before is None:
                del os.environ[_QUIET]
            else:
                os.environ[_QUIET] = before


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    listing = "\n".join(
        f"\n{group}:\n"
        + "\n".join(f"  {command.name:<13}{command.summary}" for command in commands)
        for group, commands in GROUPS.items()
    )
    top = Parser(
        prog="levelseq",
        usage="levelseq COMMAND [options]",
        description=f"{_ABOUT}{listing}",
        epilog="levelseq COMMAND --help tells a command's options.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"levelseq {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", help=argparse.SUPPRESS, parser_class=Parser)
    for group in GROUPS.values():
        for command in group:
            summary = f"{command.summary[0].upper()}{command.summary[1:]}."
            sub = commands.add_parser(
                command.name, prog=f"levelseq {command.name}", description=summary
            )
            command.add_options(sub)
            sub.add_argument(
                "--quiet", action="store_true", help="say nothing but notices, errors and results"
            )
            sub.set_defaults(work=command.work)
    return top


if __name__ == "__main__":
    sys.exit(main())
