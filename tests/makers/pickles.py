"""Pickles that no honest tool writes; each tells by `touched` whether it was run."""

import pickle
import struct
from collections.abc import Callable
from pathlib import Path


class _Runs:
    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self._call


def hostile_pickles(mark: Path, images: list[bytes]) -> dict[str, bytes]:
    """By kind. Run, those that run something make the file `mark`."""
    import builtins
    import os

    command = f"touch {mark}"
    text = command.encode()
    huge = struct.pack("<Q", 1 << 40)
    return {
        "os.system for the whole": pickle.dumps(_Runs(os.system, command)),
        "os.system among the images": pickle.dumps((([*images[:2], _Runs(os.system, command), *images[2:]]), [True])),
        "os.system as a bool": pickle.dumps((images, [_Runs(os.system, command)])),
        "eval": pickle.dumps(_Runs(builtins.eval, f"open({str(mark)!r}, 'w')")),
        "exec, protocol 0": pickle.dumps(_Runs(builtins.exec, f"open({str(mark)!r}, 'w')"), 0),
        "open of a file": pickle.dumps(_Runs(builtins.open, str(mark), "w")),
        "a name by two texts on the stack": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c"
        + bytes([len(text)]) + text + b"\x85R.",
        "INST": b"(S'" + text + b"'\nios\nsystem\n.",
        "OBJ": b"(cos\nsystem\nS'" + text + b"'\no.",
        "NEWOBJ": b"\x80\x02cos\nsystem\nU" + bytes([len(text)]) + text + b"\x85\x81.",
        "a persistent id": b"Pxxx\n.",
        "an extension code": b"\x80\x02\x82\x01.",
        "an array of another class": b"cnumpy.core.multiarray\n_reconstruct\n(cos\nsystem\n(K\x00tU\x01btR.",
        "a call of an array": b"cnumpy\nndarray\n(K\x01tR.",
        "a state for a list": b"]}U\x01aK\x01sb.",
        "a length of 2^40 bytes": b"\x80\x04]\x8e" + huge + b"x" * 100,
        "a text of 2^40 bytes": b"\x80\x04]\x8d" + huge + b"x" * 100,
        "a byte array of 2^40 bytes": b"\x80\x05]\x96" + huge + b"x" * 100,
        "a length of 4 GiB": b"\x80\x03]B\xff\xff\xff\xff" + b"x" * 100,
        "a number of 2^31 bytes": b"\x80\x02\x8b\xff\xff\xff\x7f",
        "a number of a million digits": b"L" + b"9" * 1_000_000 + b"L\n.",
        "a memo index of 2^32 - 1": b"]r\xff\xff\xff\xffr\xfe\xff\xff\xff0r\x00\x00\x00\x80.",
        "a memo index in text": b"]p99999999999999999999\np4294967295\n.",
        "a doubling of lists": b"]" + b"q\x00(" + b"h\x00" * 20_000 + b"e.",
        "200,000 lists in one another": b"]" * 200_000 + b"a" * 199_999 + b".",
        "200,000 tuples in one another": b")" + b"\x85" * 200_000 + b".",
        "200,000 marks": b"(" * 200_000 + b".",
        "a list in itself": b"]q\x00h\x00a.",
        "a line without an end": b"S'" + b"x" * 1_000_000,
        "nothing": b"",
        "a stop without a value": b".",
        "pops of nothing": b"0" * 10 + b"e.",
    }  # fmt: skip
