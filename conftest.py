"""Makes the repository root importable, so that tests can share makers; how the suite is shared out to workers."""

import os
import tempfile
from pathlib import Path

import pytest

# Read when torch is first imported, here and in the processes that tests start: workers that each use every core
# stand in each other's way.
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))

TESTS = Path(__file__).parent / "tests"
LONG_FILES_FIRST = ("pipelines", "fiqa_core/networks", "stores", "faults")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long test files before the many short ones, so that no worker is left with a long one at the end."""
    items.sort(key=lambda item: not any(item.path.is_relative_to(TESTS / folder) for folder in LONG_FILES_FIRST))


def pytest_configure(config: pytest.Config) -> None:
    """Places of records are kept in a folder of this run of the tests, not in the user's cache."""
    folder = tempfile.TemporaryDirectory(prefix="fiqa-cache-")
    os.environ["FIQA_CACHE"] = folder.name
    config.add_cleanup(folder.cleanup)
