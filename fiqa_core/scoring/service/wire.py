"""The messages between a worker and the scoring process, and the shared memory of a batch."""

import array
import contextlib
import fcntl
import json
import mmap
import os
import socket
import struct
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fiqa_core.errors import FiqaError
from fiqa_core.nameless_memory import nameless_memory

SIDE = 112
IMAGE_BYTES = SIDE * SIDE * 3
MAX_MESSAGE_BYTES = 1 << 20

_LENGTH = struct.Struct("<I")
_PEER = struct.Struct("3i")  # pid, uid, gid: Linux's struct ucred


class PeerError(FiqaError, RuntimeError):
    """The other end of the socket is not a process of the same user, or does not speak this protocol."""


@dataclass(frozen=True)
class Shape:
    """What a block of memory must hold.

    Attributes:
        batch: images; each 112x112 RGB uint8.
        dim: numbers of one embedding, 0 where the network gives none.
        has_quality: whether the network gives a quality.
    """

    batch: int
    dim: int
    has_quality: bool

    @property
    def size(self) -> int:
        """Bytes of a block: pixels, stored sizes (int64), qualities and embeddings (float32)."""
        return self.batch * (IMAGE_BYTES + 8 + 4 + 4 * self.dim)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a message."""
        return asdict(self)


class Block:
    """One batch in shared memory: the worker writes pixels, the scoring process writes scores.

    Attributes:
        pixels: uint8 (batch, 112, 112, 3). stored: int64 (batch,), bytes of each stored image.
        quality: float32 (batch,). embedding: float32 (batch, dim).
    """

    def __init__(self, descriptor: int, shape: Shape) -> None:
        self.shape = shape
        self.descriptor = descriptor
        self.memory = mmap.mmap(descriptor, shape.size)
        batch, dim = shape.batch, shape.dim
        self.pixels = np.frombuffer(self.memory, np.uint8, batch * IMAGE_BYTES).reshape(batch, SIDE, SIDE, 3)
        place = batch * IMAGE_BYTES
        self.stored = np.frombuffer(self.memory, np.int64, batch, place)
        place += 8 * batch
        self.quality = np.frombuffer(self.memory, np.float32, batch, place)
        place += 4 * batch
        self.embedding = np.frombuffer(self.memory, np.float32, batch * dim, place).reshape(batch, dim)

    @classmethod
    def create(cls, shape: Shape) -> "Block":
        """New memory without a name, of a fixed size.

        Raises:
            OSError: the memory is not there.
        """
        descriptor = nameless_memory("fiqa-batch", shape.size)
        try:
            return cls(descriptor, shape)
        except BaseException:
            os.close(descriptor)
            raise

    @classmethod
    def received(cls, descriptor: int, shape: Shape) -> "Block":
        """The other side's memory.

        Raises:
            PeerError: it is not of the size that was agreed, or its size is not fixed.
        """
        try:
            found, seals = os.fstat(descriptor).st_size, fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
        except OSError as error:
            raise PeerError(f"the descriptor that came with a batch is not shared memory ({error})") from error
        if found != shape.size or seals & fcntl.F_SEAL_SHRINK == 0:
            raise PeerError(f"a block of {found} bytes came, expected {shape.size} bytes of a fixed size")
        return cls(descriptor, shape)

    def close(self) -> None:
        """Give the memory back."""
        del self.pixels, self.stored, self.quality, self.embedding
        with contextlib.suppress(BufferError):  # still in use; it is freed when its last user is done
            self.memory.close()
        os.close(self.descriptor)


def same_user(connection: socket.socket) -> bool:
    """Whether the process at the other end belongs to this user (the kernel says so, not the process)."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    return bool(_PEER.unpack(found)[1] == os.getuid())


def send(connection: socket.socket, message: dict[str, Any], descriptor: int | None = None) -> None:
    """Send one message, and with it a descriptor."""
    body = json.dumps(message).encode()
    data = _LENGTH.pack(len(body)) + body
    if descriptor is not None:
        passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        sent = connection.sendmsg([data], passed)
        data = data[sent:]
    connection.sendall(data)


def receive(connection: socket.socket) -> dict[str, Any]:
    """The next message.

    Raises:
        ConnectionError: the other side is gone.
        PeerError: what came is not a message.
    """
    return _parsed(_exactly(connection, _LENGTH.unpack(_exactly(connection, _LENGTH.size))[0]))


def receive_with_descriptor(connection: socket.socket) -> tuple[dict[str, Any], int]:
    """The next message and the descriptor that came with it.

    Raises:
        ConnectionError: the other side is gone.
        PeerError: what came is not a message with one descriptor.
    """
    room = socket.CMSG_SPACE(array.array("i").itemsize)
    data, others, _, _ = connection.recvmsg(_LENGTH.size, room, socket.MSG_CMSG_CLOEXEC)
    if not data:
        raise ConnectionResetError("the other side closed the connection")
    received = array.array("i")
    for level, kind, content in others:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            received.frombytes(content[: len(content) - len(content) % received.itemsize])
    if len(received) != 1:
        raise PeerError(f"a message came with {len(received)} descriptors, expected one")
    try:
        data += _exactly(connection, _LENGTH.size - len(data))
        return _parsed(_exactly(connection, _LENGTH.unpack(data)[0])), received[0]
    except BaseException:
        os.close(received[0])
        raise


def _exactly(connection: socket.socket, size: int) -> bytes:
    if size > MAX_MESSAGE_BYTES:
        raise PeerError(f"a message of {size} bytes was announced; the limit is {MAX_MESSAGE_BYTES}")
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise ConnectionResetError("the other side closed the connection")
        data += piece
    return data


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except ValueError as error:
        raise PeerError("what came is not a message of this protocol") from error
    if not isinstance(message, dict):
        raise PeerError("what came is not a message of this protocol")
    return message
