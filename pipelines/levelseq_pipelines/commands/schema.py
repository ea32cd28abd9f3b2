"""`levelseq schema`: what stands in a manifest, for programs that read it."""

from __future__ import annotations

import argparse

from levelseq.schemas import KINDS, schema_text
from levelseq_pipelines.commands.command import Command

__all__ = ["SCHEMA"]


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=KINDS, help="whose schema")


def _schema(args: argparse.Namespace) -> None:
    print(schema_text(args.kind), end="")


SCHEMA = Command("schema", "print the JSON schema of a manifest", _add_options, _schema)
