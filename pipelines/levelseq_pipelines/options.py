"""Command-line options made from params models: a field is an option in kebab case."""

from __future__ import annotations

import argparse
import os
import typing
from collections.abc import Iterable
from typing import Any, Literal, NoReturn

from pydantic.fields import FieldInfo

from levelseq.errors import BadOption
from levelseq.parameters import StepParams
from levelseq.store import split_scheme

__all__ = [
    "Parser",
    "absolute",
    "add_address",
    "add_fields",
    "add_name",
    "add_params",
    "add_workspace",
    "given",
]


class Parser(argparse.ArgumentParser):
    """argparse whose complaints are levelseq's: one line, exit code 2."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Refuse what is left over here: the parser of all commands cannot say whose it was."""
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return found, rest

    def error(self, message: str) -> NoReturn:
        """Raise what argparse has to say as BadOption."""
        raise BadOption(message.removeprefix("argument "), do=f"see {self.prog} --help")


def add_params(parser: argparse.ArgumentParser, params: type[StepParams]) -> None:
    """Add every field of a params model as an option; a field without a value keeps its default."""
    add_fields(parser, params.model_fields.items())


def add_fields(parser: argparse.ArgumentParser, fields: Iterable[tuple[str, FieldInfo]]) -> None:
    """Add params fields, by name, as options."""
    for name, field in fields:
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest=name,
            default=argparse.SUPPRESS,
            **_kind(field),
        )


def _kind(field: FieldInfo) -> dict[str, Any]:
    """argparse's words for a field's type, choices and help."""
    kind: Any = field.annotation
    shown = "" if field.default in ("", [], False, None) else f" (default: {field.default})"
    help_text = f"{field.description or ''}{shown}".replace("%", "%%")
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction, "help": help_text}
    if typing.get_origin(kind) is list:
        return {"action": "append", "metavar": "VALUE", "help": f"{help_text}; may be repeated"}
    if typing.get_origin(kind) is Literal:
        return {"choices": typing.get_args(kind), "help": help_text}
    metavar = {int: "N", float: "X"}.get(kind, "TEXT")
    return {"type": kind if kind in (int, float) else str, "metavar": metavar, "help": help_text}


def given(args: argparse.Namespace, params: type[StepParams]) -> dict[str, Any]:
    """The fields of a params model that the command line gave."""
    return {name: value for name, value in vars(args).items() if name in params.model_fields}


def add_workspace(
    parser: argparse.ArgumentParser, default: str = "", *, required: bool = True
) -> None:
    """`--workspace ADDRESS`: below it everything is written."""
    shown = f" (default: {default})" if default else ""
    parser.add_argument(
        "--workspace",
        type=absolute,
        default=absolute(default) if default else "",
        required=required and not default,
        metavar="ADDRESS",
        help=f"the folder or bucket prefix below which everything is written{shown}",
    )


def add_name(parser: argparse.ArgumentParser) -> None:
    """`--name NAME`: whose champion and baselines are meant."""
    parser.add_argument(
        "--name",
        default="study",
        metavar="NAME",
        help="the study's name; champion and baselines go by it (default: study)",
    )


def add_address(
    parser: argparse._ActionsContainer, noun: str, help_text: str, *, required: bool = True
) -> None:
    """`--<noun> ADDRESS`."""
    parser.add_argument(
        f"--{noun}",
        type=absolute,
        required=required,
        default=None if required else "",
        metavar="ADDRESS",
        help=help_text,
    )


def absolute(address: str) -> str:
    """An address as it is, a bare path made absolute: a manifest is read from other folders too.

    Raises:
        BadOption: memory:// ends with its process, so a command line cannot mean it.
    """
    scheme, rest = split_scheme(address)
    if scheme == "memory":
        raise BadOption(
            "memory:// is gone when the command ends", where=address, do="use a path or a bucket"
        )
    bare = address and scheme == "file" and "://" not in address
    return os.path.abspath(rest) if bare else address
