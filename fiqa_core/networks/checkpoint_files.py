"""From a URI to named tensors: find the file, read its bytes, refuse what is not a state dict.

Files are not trusted: `torch.load` runs with `weights_only=True`, which builds tensors and runs no
code.
"""

import io
import json
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from fiqa_core import storage
from fiqa_core.errors import FiqaError
from fiqa_core.models import EMBEDDED, read_embedded
from fiqa_core.networks import checkpoint_bounds

FOLDER_ORDER = ("model.pt", "*backbone.pth", "model.safetensors")
NESTED_KEYS = ("state_dict_backbone", "state_dict", "model_state_dict", "model")
# DistributedDataParallel and torch.compile put these in front of every name.
WRAPPERS = ("module.", "_orig_mod.")
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_MOST_BYTES = 16 << 30
_MOST_HEADS = 4096
EXPECTED = "a state dict saved with torch.save, or a .safetensors file"


class CheckpointError(FiqaError, ValueError):
    """A checkpoint that cannot be used; the message says where it is, what was found and what to do."""


@dataclass(frozen=True)
class CheckpointFile:
    """One file's tensors by name (wrapper prefixes removed), its URI, and the sha256 (hex) of its
    bytes. `heads`: a ViT's attention heads if the file names them (tensors do not show them), else None.
    """

    tensors: dict[str, Tensor]
    uri: str
    sha256: str
    heads: int | None = None


def read_checkpoint_file(uri: str) -> CheckpointFile:
    """Read a file, or a folder's `model.pt`, `*backbone.pth` or `model.safetensors` (first found), from any
    URI; `fiqa_core.models.EMBEDDED` is the network that comes with this package.

    Raises CheckpointError for a missing, ambiguous, unreadable or unfit file.
    """
    found, data = _read(uri)
    content = _parse(found, data)
    tensors = _unwrap(found, _state_dict(found, content))
    _refuse(found, checkpoint_bounds.refusal_of_tensors(tensors, len(data)))
    return CheckpointFile(tensors, found, sha256(data).hexdigest(), _heads(found, data, content))


def _read(uri: str) -> tuple[str, bytes]:
    if uri == EMBEDDED:
        try:
            return uri, read_embedded()
        except FileNotFoundError as error:
            raise CheckpointError(str(error)) from error
    try:
        if storage.is_folder(uri):
            uri = _choose(uri)
        return uri, storage.read_bytes(uri, _MOST_BYTES)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{uri}: no such file or folder; expected a checkpoint file, or a folder with one of "
            f"{', '.join(FOLDER_ORDER)}. Check the path."
        ) from error
    except storage.StorageError as error:
        raise CheckpointError(str(error)) from error
    except PermissionError as error:
        raise CheckpointError(f"{uri}: may not be read ({error}); check its permissions or credentials") from error


def _choose(folder: str) -> str:
    names = storage.list_names(folder)
    for pattern in FOLDER_ORDER:
        hits = [name for name in names if name == pattern or (pattern[0] == "*" and name.endswith(pattern[1:]))]
        if len(hits) > 1:
            raise CheckpointError(f"{folder}: {len(hits)} files match {pattern}: {', '.join(hits)}; name one of them")
        if hits:
            return storage.join(folder, hits[0])
    listed = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    raise CheckpointError(
        f"{folder}: no checkpoint in this folder; looked for {', '.join(FOLDER_ORDER)}, found "
        f"{listed or 'nothing'}. Name the file itself if it is called otherwise."
    )


def _parse(uri: str, data: bytes) -> object:
    _refuse_lookalikes(uri, data)
    if _is_safetensors(data) or uri.endswith(".safetensors"):
        return _parse_safetensors(uri, data)
    if uri.lower().endswith(".onnx"):
        raise CheckpointError(
            f"{uri}: an ONNX network, not a checkpoint; expected {EXPECTED}. A known one is named by --network (fiqa "
            "networks); the scores of any other are made by fiqa embed --output-kind quality."
        )
    if not data.startswith((_ZIP, _PICKLE)):
        raise CheckpointError(
            f"{uri}: not a checkpoint ({len(data):,} bytes of another kind of file); expected {EXPECTED}. "
            "Check that this is the file you meant."
        )
    is_zip = data.startswith(_ZIP)
    _refuse(uri, checkpoint_bounds.refusal_of_zip(data) if is_zip else checkpoint_bounds.refusal_of_old_file(data))
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refused_pickle(uri, str(error))) from error
    except Exception as error:  # a damaged pickle may raise any error: IndexError, struct.error ...
        # Its message may quote the file.
        raise CheckpointError(
            f"{uri}: cannot be read as a checkpoint ({len(data):,} bytes; {type(error).__name__}); expected "
            f"{EXPECTED}. "
            "The file is damaged or cut short, or of another kind: download or save it again."
        ) from error


def _refuse(uri: str, reason: str | None) -> None:
    if reason is not None:
        raise CheckpointError(f"{uri}: {reason}. Not read: it is damaged or made to do harm; expected {EXPECTED}.")


def _refuse_lookalikes(uri: str, data: bytes) -> None:
    """Recognise the usual failed downloads, for which torch's errors are obscure; their content is not quoted."""
    head = data[:512]
    if not data:
        raise CheckpointError(f"{uri}: the file is empty; expected {EXPECTED}. Download or save it again.")
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{uri}: a git-lfs pointer, not the weights; run `git lfs pull` in its repository, or download "
            "the file itself"
        )
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise CheckpointError(
            f"{uri}: a web page, not weights; the download needed a login or a confirmation. Download it in "
            "a browser, "
            f"then give that file; expected {EXPECTED}."
        )
    if head.isascii() and all(byte >= 32 or byte in b"\t\r\n" for byte in head):
        raise CheckpointError(f"{uri}: a text file, not weights; expected {EXPECTED}. Check the path.")


def _is_safetensors(data: bytes) -> bool:
    return data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data) - 8


def _parse_safetensors(uri: str, data: bytes) -> dict[str, Tensor]:
    _refuse(uri, checkpoint_bounds.refusal_of_header(data))
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(data)
        return tensors
    except Exception as error:  # any error is possible
        raise CheckpointError(
            f"{uri}: not a readable safetensors file ({len(data):,} bytes; {type(error).__name__}). "
            "It is damaged or cut short, or has a type of numbers that is not known here: download or save it again."
        ) from error


def _heads(uri: str, data: bytes, content: object) -> int | None:
    """`heads` in a safetensors file's metadata, or beside the state dict in a training checkpoint."""
    named: object = None
    if _is_safetensors(data):
        try:
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        except (ValueError, RecursionError) as error:  # the library reads long numbers, which Python refuses
            raise CheckpointError(
                f"{uri}: the header of this safetensors file cannot be read. Save the file again."
            ) from error
        named = header.get("__metadata__", {}).get("heads")
    elif isinstance(content, Mapping):
        named = content.get("heads")
    if isinstance(named, bool) or not isinstance(named, int | str):
        return None
    text = named if isinstance(named, str) else f"{min(max(named, -1), _MOST_HEADS + 1)}"
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 0 < int(text) <= _MOST_HEADS:
        raise CheckpointError(f"{uri}: the `heads` that it names are not a whole number from 1 to {_MOST_HEADS:,}")
    return int(text)


def _refused_pickle(uri: str, reason: str) -> str:
    named = re.search(r"GLOBAL ([\w.]{1,100})", reason)
    return (
        f"{uri}: holds {named.group(1) if named else 'Python objects'}, not only tensors; loading that could "
        "run "
        "any code, so it was refused. If you trust its source, load it in a sandbox and save only "
        "`model.state_dict()` with torch.save."
    )


def _state_dict(uri: str, content: object) -> dict[str, Tensor]:
    """The state dict itself, or the one inside a training checkpoint."""
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{uri}: holds a {type(content).__name__}; expected {EXPECTED} (a dict of names to tensors)"
        )
    nested = next((key for key in NESTED_KEYS if _holds_tensors(content.get(key))), None)
    entries = content[nested] if nested else content
    unnamed = next((type(name).__name__ for name in entries if not isinstance(name, str)), None)
    if unnamed:
        raise CheckpointError(f"{uri}: its entries have names of type {unnamed}; expected texts (names of tensors)")
    junk = {name: type(value).__name__ for name, value in entries.items() if not isinstance(value, Tensor)}
    if junk or not entries:
        some = ", ".join(f"{shown(name)} ({kind})" for name, kind in list(junk.items())[:5]) or "an empty dict"
        raise CheckpointError(
            f"{uri}: {len(junk)} entries are not tensors: {some}; expected a dict of tensor names to "
            "tensors, or a training "
            f"checkpoint with such a dict under {', '.join(NESTED_KEYS)}. Save `model.state_dict()` alone."
        )
    return dict(entries)


def shown(name: str) -> str:
    """A tensor's name for an error: short, and without characters that control a terminal."""
    return name[:100].encode("unicode_escape").decode("ascii") + ("..." if len(name) > 100 else "")


def _holds_tensors(value: object) -> bool:
    return isinstance(value, Mapping) and any(isinstance(entry, Tensor) for entry in value.values())


def _unwrap(uri: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    bare: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        short = name
        while short.startswith(WRAPPERS):
            short = short.split(".", 1)[1]
        if short in bare:
            raise CheckpointError(
                f"{uri}: {shown(short)} occurs twice, with and without a {' or '.join(WRAPPERS)} prefix"
            )
        bare[short] = tensor
    return bare
