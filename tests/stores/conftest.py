"""Real emulator servers on loopback, each behind a fault proxy; clients are sent there by environment variables."""

import functools
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import fsspec
import pytest

from fiqa_core.storage import RetryPolicy, forget_stores, set_policy
from tests.gcs_emulator import gcs_emulator
from tests.stores.fault_proxy import FaultProxy

# Short waits, so that the tests are short; the stall limit is still long for a loopback answer on a busy machine.
QUICK = RetryPolicy(attempts=5, first_wait_s=0.02, longest_wait_s=0.1, total_s=60, stall_s=2.0, request_s=20)


@dataclass
class Bucket:
    """A bucket of a store under test: its URI, and the proxy that all clients go through."""

    uri: str
    proxy: FaultProxy


@pytest.fixture(scope="session")
def google_server() -> Iterator[tuple[str, int]]:
    with gcs_emulator() as place:
        yield place


@pytest.fixture(scope="session")
def amazon_server() -> Iterator[tuple[str, int]]:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()
    server.stop()


@pytest.fixture(scope="session")
def google_proxy(google_server) -> Iterator[FaultProxy]:
    proxy = FaultProxy(google_server)
    yield proxy
    proxy.stop()


@pytest.fixture(scope="session")
def amazon_proxy(amazon_server) -> Iterator[FaultProxy]:
    proxy = FaultProxy(amazon_server)
    yield proxy
    proxy.stop()


@pytest.fixture(scope="module")
def quick_retries() -> Iterator[None]:
    # Once a module: opening an S3 client takes half a second.
    set_policy(QUICK)
    forget_stores()
    yield
    set_policy(RetryPolicy())
    forget_stores()


@pytest.fixture
def google(google_proxy, quick_retries, monkeypatch, request) -> Iterator[Bucket]:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", google_proxy.url)
    # For the test's own client only; the product's does not ask (fiqa_core/storage/google.py).
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    yield from _bucket("gs", google_proxy, request)


@pytest.fixture
def amazon(amazon_proxy, quick_retries, monkeypatch, request) -> Iterator[Bucket]:
    for name, value in {
        "AWS_ENDPOINT_URL": amazon_proxy.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    yield from _bucket("s3", amazon_proxy, request)


@pytest.fixture(params=["google", "amazon"])
def bucket(request) -> Bucket:
    """Each store in turn."""
    return request.getfixturevalue(request.param)


def independent_client(uri: str) -> fsspec.AbstractFileSystem:
    """Another process's client, as far as caches go: plain gcsfs or s3fs, without this project's code."""
    return _client(uri.partition("://")[0])


@functools.cache
def _client(scheme: str) -> fsspec.AbstractFileSystem:
    if scheme == "gs":
        from gcsfs.core import GCSFileSystem

        return GCSFileSystem(token="anon", skip_instance_cache=True, use_listings_cache=False)
    import s3fs

    return s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)


def _bucket(scheme: str, proxy: FaultProxy, request: pytest.FixtureRequest) -> Iterator[Bucket]:
    name = f"b{abs(hash(request.node.nodeid)) % 10**12}"
    proxy.reset()
    independent_client(f"{scheme}://{name}").mkdir(name)
    proxy.reset()
    yield Bucket(f"{scheme}://{name}", proxy)
    proxy.reset()
