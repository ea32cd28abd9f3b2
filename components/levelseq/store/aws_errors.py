"""What botocore raises, as levelseq's errors in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from levelseq.errors import BadOption, StoreUnavailable

__all__ = ["said"]


@contextlib.contextmanager
def said(service: str, where: str = "") -> Iterator[None]:
    """botocore's errors as levelseq's.

    Raises:
        BadOption: no profile, region, credentials or login that could be used, or a refusal.
        StoreUnavailable: the service does not answer.
    """
    import botocore.exceptions as raised

    where = where or service
    try:
        yield
    except raised.ClientError as error:
        what, status = error.response["Error"], error.response["ResponseMetadata"]
        if status["HTTPStatusCode"] == 429 or status["HTTPStatusCode"] >= 500:
            raise StoreUnavailable(
                f"{service} does not answer", where=where, do="try again"
            ) from error
        line = f"{service} refuses the request: {what.get('Message') or what.get('Code')}"
        raise BadOption(line, where=error.operation_name) from error
    except raised.NoCredentialsError as error:
        raise BadOption(
            "no AWS credentials found", where=where, do="set AWS_PROFILE or AWS_ACCESS_KEY_ID"
        ) from error
    except (
        raised.ProfileNotFound,
        raised.ConfigParseError,
        raised.InvalidConfigError,
        raised.NoRegionError,
        raised.PartialCredentialsError,
    ) as error:
        raise BadOption(
            str(error), where=where, do="see AWS_PROFILE, AWS_REGION and ~/.aws/config"
        ) from error
    except (
        raised.SSOError,
        raised.LoginError,
        raised.NoAuthTokenError,
        raised.TokenRetrievalError,
    ) as error:
        raise BadOption(str(error), where=where, do="log in again: aws sso login") from error
    except (raised.ParamValidationError, raised.WaiterError) as error:
        raise BadOption(f"{service} refuses the request: {error}", where=where) from error
    except raised.BotoCoreError as error:
        raise StoreUnavailable(f"{service} does not answer", where=where, do="try again") from error
