"""Kubeflow's API server: a client that says in one line what the server will not do."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator
from typing import Any

from levelseq.errors import BadOption, StoreUnavailable

__all__ = ["connected", "said"]

_ATTEMPTS = 5
_SECONDS_BETWEEN = 5.0


def connected(host: str, **how: Any) -> Any:
    """A `kfp.Client` of a server; call it within `said`.

    kfp's own client, before anything else, asks for the server's health five times whatever the
    server answers, with a traceback each time. This one takes a refusal for an answer.

    Args:
        host: the server's address.
        how: what else `kfp.Client` is told.
    """
    import kfp
    import kfp_server_api

    class Client(kfp.Client):  # type: ignore[misc]
        def get_kfp_healthz(self, sleep_duration: float = _SECONDS_BETWEEN) -> Any:
            for attempt in range(_ATTEMPTS):
                try:
                    return self._healthz_api.healthz_service_get_healthz()
                except kfp_server_api.ApiException as error:
                    if not _may_mend(error) or attempt == _ATTEMPTS - 1:
                        raise
                time.sleep(sleep_duration)
            raise AssertionError("the last attempt answers or raises")

    with warnings.catch_warnings():
        # kfp warns at every start that it is for servers of version 2.
        warnings.simplefilter("ignore", FutureWarning)
        return Client(host=host, **how)


@contextlib.contextmanager
def said(host: str) -> Iterator[None]:
    """What kfp's client raises, as levelseq's errors.

    Raises:
        BadOption: the server refuses the request.
        StoreUnavailable: it does not answer, is busy or fails.
    """
    import kfp_server_api
    import urllib3.exceptions

    try:
        yield
    except kfp_server_api.ApiException as error:
        status = error.status or 0
        if _may_mend(error):
            raise StoreUnavailable(
                f"the API server does not answer: {status} {error.reason}",
                where=host,
                do="try again",
            ) from error
        raise BadOption(
            f"the API server refuses the request: {status} {error.reason}",
            where=host,
            do=_WAYS_OUT.get(status, ""),
        ) from error
    except (urllib3.exceptions.HTTPError, TimeoutError) as error:
        raise StoreUnavailable(
            "the API server does not answer", where=host, do="try again"
        ) from error


_WAYS_OUT = {
    401: "give a token that it knows: KFP_TOKEN, or in a pod KF_PIPELINES_SA_TOKEN_PATH",
    403: "let the token's account make runs and pipelines in the namespace",
}


def _may_mend(error: Any) -> bool:
    """Whether a retry can help; kfp's status 0 is a connection that broke."""
    status = error.status or 0
    return status in (0, 429) or status >= 500
