"""Checkpoints that are made to do harm, or are not checkpoints: refused soon, in bounded memory, and never quoted."""

import io
import json
import os
import re
import resource
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from fiqa_core.networks.checkpoints import CheckpointError, load_checkpoint

SECRET = "root:x:0:0:root:/root:/bin/bash"


def peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def refusal(path: Path, **asked: object) -> str:
    """What is said, within a few seconds and some hundred MB of memory."""
    before, began = peak_mb(), time.monotonic()
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(str(path), **asked)  # type: ignore[arg-type]
    assert time.monotonic() - began < 20
    assert peak_mb() - before < 600
    assert path.name in str(caught.value)
    assert "root:" not in str(caught.value)
    return str(caught.value)


def as_torch_zip(pickled: bytes, *more: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickled)
        archive.writestr("a/version", "3\n")
        for name, data in more:
            archive.writestr(name, data)
    return out.getvalue()


def safetensors_of(header: bytes, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + body


def nested_tuples() -> bytes:
    # ((a, a), (a, a)) ... sixty times: a dict key whose hash visits 2^60 objects.
    return b"\x80\x02}" + b")q\x00" + b"h\x00\x86q\x00" * 60 + b"K\x01s."


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (lambda: as_torch_zip(b"\x80\x02}.", ("a/data/0", bytes(300 << 20))), "would unpack to 314,"),
        (lambda: as_torch_zip(b"\x80\x02" + b"]" * 3_000_000 + b"a" * 2_999_999 + b"."), "index of tensors is"),
        (lambda: b"\x80\x02" + b"]" * 3_000_000 + b"a" * 2_999_999 + b".", "index of tensors is more than"),
        (lambda: as_torch_zip(nested_tuples()), "nested"),
        (nested_tuples, "nested"),
        (lambda: as_torch_zip(b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R."), "bytearray"),
        (lambda: as_torch_zip(b"\x80\x02c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R."), "bytearray"),
        (lambda: struct.pack("<Q", 90 << 20) + b"{" + b" " * (90 << 20), "its header is said to be"),
        (lambda: safetensors_of(b"[" * 100_000 + b"]" * 100_000), "not a readable safetensors file|not a checkpoint"),
        (
            lambda: safetensors_of(b'{"w":{"dtype":"F32","shape":[' + b"9" * 100_000 + b'],"data_offsets":[0,4]}}'),
            "not a readable safetensors file",
        ),
        (
            lambda: safetensors_of(json.dumps({"__metadata__": {"heads": "9" * 100_000}}).encode()),
            "holds|heads|empty dict",
        ),
        (lambda: struct.pack("<Q", 1 << 62) + b'{"a":1}', "header is said to be"),
    ],
    ids=["zip bomb", "deep list", "deep old list", "tuples", "old tuples", "bytearray", "old bytearray", "long header",
         "deep header", "long number", "long heads", "absurd header"],
)  # fmt: skip
def test_a_bomb_is_refused_before_it_is_unpacked(data: Callable[[], bytes], told: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors" if told.startswith(("header", "its header")) else tmp_path / "net.pt"
    path.write_bytes(data())
    message = refusal(path)
    assert re.search(told, message), message


def test_tensors_that_claim_more_numbers_than_the_file_holds_are_refused(tmp_path: Path) -> None:
    wide = torch.zeros(1, dtype=torch.float16).expand(40_000, 3, 9, 9)  # ten million numbers of one that is stored
    torch.save({"patch_embed.proj.weight": wide, "pos_embed": torch.zeros(1, 145, 40_000)}, tmp_path / "net.pt")
    assert "claims 19,440,000 bytes of numbers" in refusal(tmp_path / "net.pt")


def test_block_numbers_that_no_network_has_are_refused(make_weights, tmp_path: Path) -> None:
    for number in ("99999999", "9" * 5000):
        weights = make_weights() | {f"blocks.{number}.norm1.weight": torch.zeros(64)}
        torch.save(weights, tmp_path / "net.pt")
        assert "more than 3 digits" in refusal(tmp_path / "net.pt", heads=8)


@pytest.mark.parametrize("kind", ["fifo", "device", "socket folder"])
def test_what_is_no_regular_file_is_refused_without_waiting(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
        os.mkfifo(path / "model.pt")
    assert "a device, pipe or socket" in refusal(path)


@pytest.mark.parametrize(
    "content",
    [
        f"{SECRET}\n".encode() * 40,
        ("é\n" + f"{SECRET}\n" * 40).encode(),
        b"\x80\x02" + f"{SECRET}\n".encode() * 40,
        b"PK\x03\x04" + f"{SECRET}\n".encode() * 40,
        b"\x80\x02I" + f"{SECRET}\n".encode() * 40,
        b"\xff" + f"{SECRET}\n".encode() * 40,
    ],
)
@pytest.mark.parametrize("name", ["net.pt", "net.safetensors"])
def test_a_link_to_another_file_never_shows_its_content(content: bytes, name: str, tmp_path: Path) -> None:
    (tmp_path / "passwd").write_bytes(content)
    (tmp_path / name).symlink_to(tmp_path / "passwd")
    refusal(tmp_path / name)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (torch.float8_e4m3fn, "float8_e4m3fn"),
        (torch.float8_e5m2, "float8_e5m2"),
        (torch.bool, "bool"),
        (torch.complex64, "complex64"),
        (torch.int32, "int32"),
    ],
)
@pytest.mark.parametrize("name", ["net.pt", "net.safetensors"])
def test_weights_of_other_types_are_named_with_their_file(kind, told: str, name: str, make_weights, tmp_path) -> None:
    weights = {key: value.to(kind) if value.ndim == 2 else value for key, value in make_weights().items()}
    if name.endswith(".pt"):
        torch.save(weights, tmp_path / name)
    else:
        (tmp_path / name).write_bytes(safetensors.torch.save(weights))
    assert f"({told})" in refusal(tmp_path / name, heads=8)


def test_double_precision_is_loaded_unless_it_does_not_fit_float32(make_weights, tmp_path: Path) -> None:
    weights = {key: value.double() if value.is_floating_point() else value for key, value in make_weights().items()}
    torch.save(weights, tmp_path / "net.pt")
    assert load_checkpoint(str(tmp_path / "net.pt"), heads=8).network.norm.weight.dtype == torch.float32
    weights["norm.weight"][0] = 1e300
    torch.save(weights, tmp_path / "net.pt")
    assert "norm.weight" in refusal(tmp_path / "net.pt", heads=8)


# --- heads ------------------------------------------------------------------------------------------------


def test_a_vit_whose_heads_nobody_names_is_refused_and_says_what_to_give(make_weights, tmp_path: Path) -> None:
    torch.save(make_weights("vit_w48_d1_p16_h4"), tmp_path / "net.pt")
    message = refusal(tmp_path / "net.pt")
    assert "--heads N" in message
    assert "48: 1, 2, 3, 4, 6, 8, 12, 16, 24, 48" in message
    four, eight = (load_checkpoint(str(tmp_path / "net.pt"), heads=heads) for heads in (4, 8))
    assert (four.arch, eight.arch) == ("vit_w48_d1_p16_h4", "vit_w48_d1_p16")
    faces = torch.linspace(-1, 1, 3 * 112 * 112).view(1, 3, 112, 112).sin()
    assert four.network.quality(faces) != eight.network.quality(faces)
    # The name of an architecture tells the heads too.
    assert load_checkpoint(str(tmp_path / "net.pt"), arch="vit_w48_d1_p16_h4").arch == "vit_w48_d1_p16_h4"


def test_heads_that_the_file_names_need_no_option_and_are_not_contradicted(make_weights, tmp_path: Path) -> None:
    weights = make_weights("vit_w48_d1_p16_h4")
    torch.save({"state_dict": weights, "heads": 4}, tmp_path / "net.pt")
    (tmp_path / "net.safetensors").write_bytes(safetensors.torch.save(weights, {"heads": "4"}))
    for name in ("net.pt", "net.safetensors"):
        assert load_checkpoint(str(tmp_path / name)).arch == "vit_w48_d1_p16_h4"
        assert "asked for 8 attention heads, but the file names 4" in refusal(tmp_path / name, heads=8)
    torch.save({"state_dict": weights, "heads": 10**500}, tmp_path / "net.pt")
    assert "not a whole number from 1" in refusal(tmp_path / "net.pt")
    torch.save({"state_dict": weights, "heads": 0}, tmp_path / "net.pt")
    assert "not a whole number from 1" in refusal(tmp_path / "net.pt")


def test_the_original_sizes_have_eight_heads_unless_something_else_is_said(make_weights, tmp_path: Path) -> None:
    torch.save(make_weights("vit_t"), tmp_path / "net.pt")
    assert load_checkpoint(str(tmp_path / "net.pt")).arch == "vit_t"
    assert load_checkpoint(str(tmp_path / "net.pt"), heads=4).arch == "vit_w256_d12_p9_h4"


@pytest.mark.parametrize("heads", [0, -1, 2.0, True])
def test_heads_that_are_not_a_number_of_heads_are_refused(heads: object, make_weights, tmp_path: Path) -> None:
    torch.save(make_weights(), tmp_path / "net.pt")
    assert "heads is" in refusal(tmp_path / "net.pt", heads=heads)


def test_an_iresnet_has_no_heads(make_weights, tmp_path: Path) -> None:
    torch.save(make_weights("iresnet_1-1-1-1", "fr"), tmp_path / "net.pt")
    assert "has none" in refusal(tmp_path / "net.pt", heads=8)
