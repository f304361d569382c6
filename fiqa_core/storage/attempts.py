"""Do again what a disk spoilt, where it may go better in a moment.

Stores are tried again request by request (`fiqa_core.storage.retry`), so their errors are not tried again here.
"""

import errno
import logging
import time
from collections.abc import Callable
from typing import TypeVar

from fiqa_core.storage.errors import StorageError

T = TypeVar("T")
_log = logging.getLogger(__name__)

ATTEMPTS = 3
# A disk that is full, read-only or over quota (or a file that may not grow or be read) is so in five seconds too.
_LASTING = {errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM}


def with_attempts(
    work: Callable[[], T],
    what: str,
    lasts: Callable[[OSError], bool] = lambda _: False,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """The result of `work`, which is done up to three times (waits of 1 and 4 s) while the disk fails it.

    Args:
        what: what is done, for the log.
        lasts: whether an error that might pass will not, for a reason that the caller knows.

    Raises:
        OSError: the last error, as it is. Whatever else `work` raises, and a StorageError, is raised at once.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return work()
        except StorageError:
            raise
        except OSError as error:
            if attempt == ATTEMPTS or error.errno in _LASTING or lasts(error):
                raise
            _log.warning("%s, attempt %d of %d: %s: %s", what, attempt, ATTEMPTS, type(error).__name__, error)
        sleep(4.0 ** (attempt - 1))
    raise AssertionError("the last attempt returns or raises")
