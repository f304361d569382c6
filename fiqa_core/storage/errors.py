"""Errors of stores; each message names the place, the cause and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from fiqa_core.errors import FiqaError

_REMEDY = {
    "gs": "Sign in (gcloud auth application-default login), or let the service account read and write this bucket "
    "(roles/storage.objectUser).",
    "hf": "Sign in (hf auth login, or HF_TOKEN) as someone who may read this repository; of a gated one the terms must "
    "be accepted on its page.",
    "s3": "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, of an identity that may list, read and "
    "write this bucket; for a public bucket, FSSPEC_S3_ANON=true.",
}
_DENIED_CODES = {"401", "403", "AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken"}
_NO_CREDENTIALS = {
    "botocore.NoCredentialsError",
    "botocore.PartialCredentialsError",
    "botocore.SSOError",
    "google.GoogleAuthError",
}


class StorageError(FiqaError, OSError):
    """A store did not do what was asked; the message names the place and what to do."""


class MissingError(StorageError, FileNotFoundError):
    """There is no such object, or no such bucket."""


class DeniedError(StorageError, PermissionError):
    """The store refuses access: no credentials, wrong or expired ones, or no permission."""


class ChangedError(StorageError):
    """A file has changed since it was planned or opened."""


class GaveUpError(StorageError):
    """A temporary fault (overload, network) lasted longer than the allowed time or number of attempts."""


class ShortReadError(FiqaError, ConnectionError):
    """A store sent fewer bytes than requested: a broken connection, not the end of the file."""


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turn what a store's client raises into a StorageError that names the URI and the remedy."""
    try:
        yield
    except GaveUpError as error:
        raise GaveUpError(f"{uri}: {error}") from error
    except StorageError:
        raise
    except FileNotFoundError as error:
        raise MissingError(f"{uri}: no such object or bucket. Check the name.") from error
    except Exception as error:
        kind = kind_and_line(error)
        if _is_denied(error):
            remedy = _REMEDY.get(uri.partition("://")[0], "Check your credentials.")
            raise DeniedError(f"{uri}: access refused ({kind}). {remedy}") from error
        raise StorageError(f"{uri}: {kind}") from error


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and the errors it was raised from, outermost first."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def http_status(error: BaseException) -> tuple[int | None, str]:
    """HTTP status (None if the error is not a server's answer) and the store's own error code."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return status, str(response.get("Error", {}).get("Code", ""))
    status = getattr(response, "status_code", None)  # requests, httpx (huggingface_hub)
    if isinstance(status, int):
        return status, str(status)
    answers = {"gcsfs.HttpError": "code", "aiohttp.ClientResponseError": "status"}
    found = next((str(getattr(error, answers[name], "")) for name in kinds(error) if name in answers), "")
    return (int(found), found) if found.isdigit() else (None, "")


def kinds(error: BaseException) -> set[str]:
    """`package.Class` of an error's class and its bases, by name, so that no client has to be imported."""
    return {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(error).__mro__}


def _is_denied(error: BaseException) -> bool:
    for cause in causes(error):
        if isinstance(cause, PermissionError) or str(cause).startswith("Forbidden"):
            return True
        if kinds(cause) & _NO_CREDENTIALS:
            return True
        status, code = http_status(cause)
        if status in (401, 403) or code in _DENIED_CODES:
            return True
    return False


def kind_and_line(error: BaseException) -> str:
    """The kind of an error and the first line of its message."""
    text = (str(error).strip().splitlines() or [""])[0][:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
