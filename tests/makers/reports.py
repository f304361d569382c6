"""A scored dataset with names that attack a page, duplicates, and a scorer that knows no faces."""

from pathlib import Path

import numpy as np

from pipelines.score_dataset import run
from tests.fakes import MeanScorerSource
from tests.makers.containers import write_tar
from tests.makers.images import jpeg_bytes

FACES = 60
# Labels as they would have to be to break out of HTML, of an attribute, of JSON, or of the reading direction.
HOSTILE = [
    '<script>window.hacked="label"</script>',
    '</script><img src=x onerror=window.hacked="tag">',
    "\"'><b onmouseover=window.hacked=1>",
    "\u202egpj.exe\u202c",
    "\u05e9\u05dc\u05d5\u05dd",
    "{{ 7 * 7 }}",
    "=1+1",
    "plain",
]


def scored_faces(folder: Path) -> Path:
    """Output of a scoring run over 60 faces: 56 different ones of 8 identities, the last 4 with the bytes of the
    first 4."""
    folder.mkdir(parents=True, exist_ok=True)
    images = [jpeg_bytes(seed, 48) for seed in range(FACES - 4)]
    images += images[:4]
    members = []
    for number, data in enumerate(images):
        key = f"<b>key&{number:03d}'"
        members += [(f"{key}.jpg", data), (f"{key}.cls", HOSTILE[number % len(HOSTILE)].encode())]
    shard = write_tar(folder / "faces.tar", members)
    options = ["--input", str(shard), "--output", str(folder / "out")]
    assert run(options, MeanScorerSource()) == 0
    return folder / "out"


def float32(text: str) -> np.float32:
    """A threshold as the page shows it."""
    return np.float32(text)
