"""What a disk spoilt is done again where that may help."""

import errno

import pytest

from fiqa_core.storage import StorageError
from fiqa_core.storage.attempts import with_attempts


class Failing:
    """Raises its errors one after the other, then returns 7."""

    def __init__(self, *errors: Exception) -> None:
        self.left = list(errors)
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self.left:
            raise self.left.pop(0)
        return 7


def test_a_disk_that_fails_twice_is_tried_a_third_time_after_growing_waits(caplog):
    waits: list[float] = []
    work = Failing(OSError(errno.EIO, "spoilt"), OSError(errno.ESTALE, "stale"))
    assert with_attempts(work, "unit 3", sleep=waits.append) == 7
    assert waits == [1.0, 4.0]
    assert "unit 3, attempt 1 of 3: OSError: [Errno 5] spoilt" in caplog.text
    assert "unit 3, attempt 2 of 3" in caplog.text


def test_the_third_failure_is_raised_as_it_is():
    errors = [OSError(errno.EIO, str(number)) for number in range(3)]
    work = Failing(*errors)
    with pytest.raises(OSError, match="2") as raised:
        with_attempts(work, "unit", sleep=lambda _: None)
    assert raised.value is errors[2]
    assert work.calls == 3


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "full"),
        PermissionError(errno.EACCES, "no"),
        StorageError("gs://b/x: access refused"),
        ValueError("damaged"),
    ],
)
def test_what_lasts_and_what_was_tried_again_already_is_raised_at_once(error):
    work = Failing(error)
    with pytest.raises(type(error)):
        with_attempts(work, "unit", sleep=lambda _: pytest.fail("no wait"))
    assert work.calls == 1


def test_the_caller_can_know_that_an_error_lasts():
    work = Failing(FileNotFoundError(errno.ENOENT, "gone"))
    with pytest.raises(FileNotFoundError):
        with_attempts(work, "task", lambda error: error.errno == errno.ENOENT, lambda _: pytest.fail("no wait"))
