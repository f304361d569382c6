"""Limits of checkpoints, checked before a file is unpacked, so that memory and time are bounded by its size."""

import io
import pickletools
import zipfile
import zlib
from collections.abc import Mapping

import torch
from torch import Tensor

# A real index has a few hundred kilobytes; torch reads it byte by byte (about 2.5 s for a MiB of nested lists).
_INDEX_BYTES = 2 << 20
_HEADER_BYTES = 8 << 20
_PICKLES_OF_AN_OLD_FILE = 5
# Python computes a tuple's hash anew each time, over everything in it.
_MOST_HASHED = 1_000_000
_MARK = -1
_ONE_OBJECT = 1


def allowance(size: int) -> int:
    """Bytes that a file of `size` bytes may take when it is unpacked."""
    return 4 * size + (64 << 20)


def refusal_of_zip(data: bytes) -> str | None:
    """Why a zip archive (the format of torch.save) is not unpacked; None: it may be unpacked, or is damaged."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            unpacked = sum(entry.file_size for entry in entries)
            if unpacked > allowance(len(data)):
                return f"would unpack to {unpacked:,} bytes from {len(data):,}; torch.save does not compress"
            for entry in entries:
                if entry.filename.endswith(".pkl"):
                    if entry.file_size > _INDEX_BYTES:
                        return f"its index of tensors is {entry.file_size:,} bytes; expected at most {_INDEX_BYTES:,}"
                    if reason := _refusal_of_pickle(io.BytesIO(archive.read(entry))):
                        return reason
    except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError, ValueError, RuntimeError, zlib.error):
        return None
    return None


def refusal_of_old_file(data: bytes) -> str | None:
    """The same for torch's older format: a sequence of pickles, then the numbers."""
    stream = io.BytesIO(data)
    try:
        for _ in range(_PICKLES_OF_AN_OLD_FILE):
            if reason := _refusal_of_pickle(stream):
                return reason
    except ValueError:  # not a pickle: torch reports what is wrong
        return None
    return None


def refusal_of_header(data: bytes) -> str | None:
    """Why the header of a safetensors file is not read; None: it may be read."""
    size = int.from_bytes(data[:8], "little")
    if size > _HEADER_BYTES:
        return f"its header is said to be {size:,} bytes; expected at most {_HEADER_BYTES:,}"
    return None


def refusal_of_tensors(tensors: Mapping[str, Tensor], size: int) -> str | None:
    """Why tensors read from a file of `size` bytes are not used; None: they have the numbers that they claim."""
    total = 0
    for name, tensor in tensors.items():
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            return f"{name[:80]!r} is not a plain tensor of numbers (sparse, quantised or without data)"
        own = tensor.numel() * tensor.element_size()
        if own > tensor.untyped_storage().nbytes():
            return f"{name[:80]!r} claims {own:,} bytes of numbers, more than are there"
        total += own
    return f"its tensors claim {total:,} bytes from a file of {size:,}" if total > allowance(size) else None


def _refusal_of_pickle(stream: io.BytesIO) -> str | None:
    """Follow a pickle's instructions without executing them."""
    stack: list[int] = []  # number of objects that a hash of each would visit
    memo: dict[int, int] = {}
    start = stream.tell()
    for opcode, argument, _ in pickletools.genops(stream):
        if stream.tell() - start > _INDEX_BYTES:
            return f"its index of tensors is more than {_INDEX_BYTES:,} bytes"
        if opcode.name == "GLOBAL" and str(argument).endswith(" bytearray"):
            return "holds a bytearray, which may be made of any size"
        try:
            _follow(opcode, argument, stack, memo)
        except (IndexError, ValueError, KeyError):
            return None  # it takes from an empty stack: torch reports that
        if stack and stack[-1] > _MOST_HASHED:
            return "holds tuples nested so that they stand for millions of objects"
    return None


def _follow(opcode: pickletools.OpcodeInfo, argument: object, stack: list[int], memo: dict[int, int]) -> None:
    name = opcode.name
    if name in ("BINPUT", "LONG_BINPUT", "PUT"):
        memo[int(str(argument))] = stack[-1]
    elif name == "MEMOIZE":
        memo[len(memo)] = stack[-1]
    elif name in ("BINGET", "LONG_BINGET", "GET"):
        stack.append(memo[int(str(argument))])
    elif name == "MARK":
        stack.append(_MARK)
    else:
        taken = _taken(opcode, stack)
        hashed = 1 + sum(taken) if name in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3") else _ONE_OBJECT
        stack.extend([hashed] * len(opcode.stack_after))


def _taken(opcode: pickletools.OpcodeInfo, stack: list[int]) -> list[int]:
    """Remove from the stack what an instruction takes."""
    wanted = opcode.stack_before
    if pickletools.markobject not in wanted:
        count = len(wanted)
        taken = stack[len(stack) - count :]
        if len(taken) != count:
            raise IndexError(opcode.name)
        del stack[len(stack) - count :]
        return taken
    mark = len(stack) - 1 - stack[::-1].index(_MARK)
    taken = stack[mark + 1 :]
    del stack[mark - wanted.index(pickletools.markobject) :]
    return taken
