"""JSON over HTTP, as little of it as the sinks need."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from typing import Any

__all__ = ["JsonServer", "Unreachable", "basic", "bearer"]

TIMEOUT = 30.0


class Unreachable(Exception):
    """The server did not answer, or not with what was asked; the message names no credential."""

    def __init__(self, message: str, status: int = 0, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class JsonServer:
    """A REST server below one address.

    Attributes:
        address: http or https; paths go behind it.
        authorization: the header's value, or nothing.
        trust: a certificate authority's file; None for the system's, `""` to trust anybody.
    """

    address: str
    authorization: str = field(default="", repr=False)
    trust: str | None = None

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """The answer to a GET."""
        return self._ask("GET", f"{path}?{urllib.parse.urlencode(query)}", None)

    def find(self, path: str, **query: str) -> dict[str, Any] | None:
        """The answer to a GET, None where there is nothing."""
        try:
            return self.get(path, **query)
        except Unreachable as error:
            if error.status == 404:
                return None
            raise

    def post(self, path: str, content: dict[str, Any]) -> dict[str, Any]:
        """The answer to a POST."""
        return self._ask("POST", path, content)

    def patch(self, path: str, content: dict[str, Any]) -> dict[str, Any]:
        """The answer to a PATCH."""
        return self._ask("PATCH", path, content)

    def delete(self, path: str, content: dict[str, Any]) -> dict[str, Any]:
        """The answer to a DELETE."""
        return self._ask("DELETE", path, content)

    def _ask(self, method: str, path: str, content: dict[str, Any] | None) -> dict[str, Any]:
        """One request.

        Raises:
            Unreachable: whatever goes wrong; the server's own code and words go with it.
        """
        scheme, host, *_ = urllib.parse.urlsplit(self.address)
        shown = f"{scheme}://{host.rpartition('@')[2]}"
        if scheme not in ("http", "https"):
            raise Unreachable(f"{shown} is not http or https")
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(
            f"{self.address.rstrip('/')}/{path}",
            data,
            {"Content-Type": "application/json", "Accept": "application/json"},
            method=method,
        )
        if self.authorization:
            request.add_header("Authorization", self.authorization)
        try:
            with urllib.request.urlopen(
                request, timeout=TIMEOUT, context=self._context()
            ) as answer:
                found: dict[str, Any] = json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            told = _told(error.read())
            words = " ".join(str(told.get("message", "")).split())[:200]
            code = str(told.get("error_code") or told.get("code") or "")
            raise Unreachable(
                f"{shown} answered {error.code} {words}".strip(), error.code, code
            ) from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise Unreachable(f"{shown} did not answer: {reason}") from error
        return found

    def _context(self) -> ssl.SSLContext | None:
        if self.trust is None or not self.address.startswith("https"):
            return None
        if self.trust:
            return ssl.create_default_context(cafile=self.trust)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context


def bearer(token: str) -> str:
    """The header of a token; nothing of nothing."""
    return f"Bearer {token}" if token else ""


def basic(user: str, password: str) -> str:
    """The header of a user and a password; nothing without a user."""
    together = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
    return f"Basic {together}" if user else ""


def _told(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
