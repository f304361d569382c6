"""Where credentials of the cloud stores are found on this machine, by name and never by content; no network."""

import os
from pathlib import Path

_GOOGLE_FILE = "application_default_credentials.json"


def google_credentials() -> str:
    """What gs:// would sign in with, in the order in which Google's own library looks."""
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    if emulator:
        return f"an emulator at {emulator} (STORAGE_EMULATOR_HOST)"
    if token := os.environ.get("FSSPEC_GS_TOKEN"):
        return "without credentials (FSSPEC_GS_TOKEN=anon)" if token == "anon" else "FSSPEC_GS_TOKEN is set"
    named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if named:
        state = "" if Path(named).is_file() else ", WHICH IS NOT THERE"
        return f"the file {named} (GOOGLE_APPLICATION_CREDENTIALS){state}"
    file = Path(os.environ.get("CLOUDSDK_CONFIG") or Path.home() / ".config" / "gcloud") / _GOOGLE_FILE
    if file.is_file():
        return f"your own sign-in, {file}"
    return (
        "no credentials found on this disk. On a Google machine its service account is used; elsewhere type gcloud "
        "auth application-default login"
    )


def amazon_credentials() -> str:
    """What s3:// would sign in with, in the order in which Amazon's own library looks."""
    service = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return _amazon() + (f"; the service is {service}" if service else "")


def _amazon() -> str:
    if os.environ.get("FSSPEC_S3_ANON", "").lower() in ("true", "1", "yes"):
        return "without credentials (FSSPEC_S3_ANON), for public buckets"
    if os.environ.get("FSSPEC_S3_KEY"):
        return "FSSPEC_S3_KEY is set"
    key, secret = (bool(os.environ.get(f"AWS_{name}")) for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
    if key and secret:
        return "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are set"
    if key or secret:
        return f"AWS_{'SECRET_ACCESS_KEY' if key else 'ACCESS_KEY_ID'} IS MISSING, the other of the two is set"
    if os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        return "a web identity (AWS_WEB_IDENTITY_TOKEN_FILE)"
    folder = Path.home() / ".aws"
    files = [
        Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or folder / "credentials"),
        Path(os.environ.get("AWS_CONFIG_FILE") or folder / "config"),
    ]
    found = [str(file) for file in files if file.is_file()]
    if found:
        profile = os.environ.get("AWS_PROFILE")
        return " and ".join(found) + (f", profile {profile}" if profile else "")
    return (
        "no credentials found on this disk. On an Amazon machine its role is used; elsewhere set AWS_PROFILE, or "
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for public buckets FSSPEC_S3_ANON=true"
    )
