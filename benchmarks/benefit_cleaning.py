"""What the product decides about the training faces: real runs of filter_dataset with labels from a file."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.benefit_faces import Faces, quiet
from pipelines import filter_dataset

WRONG = ("--drop-unlabelled", "--drop-wrong-labels")
SURE = 0.5


class Product:
    """Runs of filter_dataset over one quality table; each is made once and read again afterwards."""

    def __init__(self, faces: Faces, table: Path, embeddings: Path | None, work: Path) -> None:
        """`faces`: the rows that training knows; all others have no label and are left out. `embeddings`: output of
        embed_dataset for the same images, by the recogniser that cleans."""
        self._faces, self._table, self._embeddings, self._work = faces, table, embeddings, work

    def cleaned(self, labels: np.ndarray, name: str) -> pd.DataFrame:
        """Decisions after wrong labels were dropped, in the order of the faces."""
        return self._decisions(name, labels, WRONG)

    def corrected(self, labels: np.ndarray, name: str, cleaned: pd.DataFrame) -> pd.DataFrame:
        """Decisions when a label that `cleaned` has judged wrong is first replaced by the nearest identity's, if that
        has a cosine of at least SURE, as a reviewer who believes the recogniser would (`--review`). The other labels
        are then judged once more, with centres that have more right faces."""
        wrong = np.flatnonzero((cleaned["label_verdict"] == "wrong_label") & (cleaned["nearest_cosine"] >= SURE))
        review = self._work / name / "review.csv"
        nearest = cleaned["nearest_label"].to_numpy(object)
        self._write(review, ("sha256", "verdict", "label"), [(self._faces.digests[r], "", nearest[r]) for r in wrong])
        return self._decisions(name, labels, (*WRONG, "--review", str(review)))

    def cut(self, name: str, options: Sequence[str]) -> pd.DataFrame:
        """Decisions by rules of quality, with the right labels."""
        return self._decisions(name, self._faces.labels, ("--drop-unlabelled", *options))

    def _decisions(self, name: str, labels: np.ndarray, options: Sequence[str]) -> pd.DataFrame:
        folder = self._work / name
        output = folder / "filtered"
        if not (output / "summary.json").exists():
            listed = folder / "labels.csv"
            self._write(listed, ("key", "label"), zip(self._faces.keys, labels, strict=True))
            words = ["--quality", str(self._table), "--labels", str(listed), "--output", str(output), "--write", "none"]
            needs_embeddings = any(word in options for word in ("--drop-wrong-labels", "--protect-recognised"))
            words += ["--embeddings", str(self._embeddings)] if needs_embeddings else []
            words += ["--resume"] if output.exists() else []
            quiet(filter_dataset.run, [*words, *options])
        found = pd.read_parquet(output / "decisions").set_index("key")
        return found.loc[self._faces.keys].reset_index()

    def _write(self, path: Path, header: Sequence[str], rows: object) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(header)
            writer.writerows(rows)  # type: ignore[arg-type]
