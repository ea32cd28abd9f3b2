"""What a step may be told: the base of every params model."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from levelseq.errors import BadOption

__all__ = ["StepParams"]


class StepParams(BaseModel):
    """A step's choices, checked once; the truth for its door, its command line and its docs.

    Fields are str, int, float, bool or list[str] with a literal default and a description.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def checked(cls, **values: Any) -> Self:
        """The params of some values.

        Raises:
            BadOption: a value is of the wrong kind, out of bounds, or unknown.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            option = "--" + ".".join(str(part) for part in first["loc"]).replace("_", "-")
            message = str(first["msg"]).removeprefix("Value error, ")
            message = message[:1].lower() + message[1:]
            given = first.get("input")
            shown = ", ".join(map(repr, given)) if isinstance(given, list) else repr(given)
            raise BadOption(f"{message}, not {shown}", where=option) from error
