"""A Google Cloud Storage emulator on the loopback."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from gcp_storage_emulator.server import create_server


@contextmanager
def gcs_emulator(bucket: str | None = None) -> Iterator[tuple[str, int]]:
    """Run a server on a free port, with one bucket if named; gives its host and port."""
    logging.getLogger("gcp_storage_emulator").setLevel(logging.ERROR)
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket=bucket)
    server.start()
    try:
        yield "127.0.0.1", server._api._httpd.server_port
    finally:
        server.stop()
