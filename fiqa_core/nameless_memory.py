"""Memory that several processes share and that has no name: nothing is left of it when the last of them is gone."""

import fcntl
import os

SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def nameless_memory(what: str, size: int) -> int:
    """Descriptor of `size` bytes of new memory of a fixed size; it is passed on as a descriptor (Linux).

    `what`: shown in /proc for people; it cannot be opened by it.

    Raises:
        OSError: the memory is not there.
    """
    descriptor = os.memfd_create(what, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        # Taken now: memory that turns out to be missing at the first write would kill the process that writes.
        os.posix_fallocate(descriptor, 0, size)
        # Neither side can pull it away under the other.
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
