"""Memory that a GPU copies from without the processor's help: a worker's block, registered with the driver."""

import ctypes
import logging
import mmap
import sys

_log = logging.getLogger(__name__)


class Pinned:
    """A block that is registered while this object is in use; without a GPU it does nothing.

    A block must be released before its memory is: the next worker's block can come to lie at the same address, and
    the driver refuses an address that it still knows.
    """

    def __init__(self, memory: mmap.mmap) -> None:
        self._address = 0
        torch = sys.modules.get("torch")
        if torch is None or not torch.cuda.is_available():
            return
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        if code := int(torch.cuda.cudart().cudaHostRegister(address, len(memory), 0)):
            # Copies from memory that is not registered are slower, but correct.
            _log.warning("the GPU's driver does not pin a worker's memory (cudaHostRegister: %d)", code)
            return
        self._address = address

    def release(self) -> None:
        """End the registration."""
        if self._address:
            sys.modules["torch"].cuda.cudart().cudaHostUnregister(self._address)
            self._address = 0
