"""Show an atlas (docs/atlas.md) in FiftyOne: its faces, columns and map.

pip install fiftyone pyarrow        (in an environment of its own)
python examples/atlas_in_fiftyone.py atlas/atlas.parquet --faces atlas-faces
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

NOT_FIELDS = ("x", "y", "thumbnail", "thumbnail_problem", "label")
BRAIN_KEY = "atlas"


def faces_as_files(atlas: Path, folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Write each thumbnail as a file (FiftyOne shows files), and give its path and its row. Points without a thumbnail
    are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    for batch in pq.ParquetFile(atlas).iter_batches(1000):
        for row in batch.to_pylist():
            path = folder / f"{number:07d}.jpg"
            number += 1
            if row["thumbnail"] is not None:
                path.write_bytes(row["thumbnail"]["bytes"])
                yield path, row


def dataset_of(atlas: Path, folder: Path, name: str) -> Any:
    """The FiftyOne dataset of an atlas: a sample for each face, and the map under the brain key `atlas`."""
    import fiftyone as fo
    import fiftyone.brain as fob

    samples, points = [], []
    for path, row in faces_as_files(atlas, folder):
        fields = {column: value for column, value in row.items() if column not in NOT_FIELDS and value is not None}
        if row["label"] is not None:
            fields["identity"] = fo.Classification(label=row["label"])
        samples.append(fo.Sample(filepath=str(path.absolute()), **fields))
        points.append((row["x"], row["y"]))
    dataset = fo.Dataset(name, persistent=True, overwrite=True)
    dataset.add_samples(samples)
    if samples:
        fob.compute_visualization(dataset, points=np.array(points), brain_key=BRAIN_KEY)
    return dataset


def main() -> None:
    """Make the dataset and open it in a browser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("atlas", type=Path, help="atlas.parquet")
    parser.add_argument("--faces", type=Path, required=True, help="folder for the thumbnails as files")
    parser.add_argument("--name", default="fiqa-atlas", help="name of the dataset in FiftyOne; replaced if it is there")
    parser.add_argument("--no-app", action="store_true", help="make the dataset, open nothing")
    arguments = parser.parse_args()
    dataset = dataset_of(arguments.atlas, arguments.faces, arguments.name)
    print(dataset)
    if not arguments.no_app:
        import fiftyone as fo

        fo.launch_app(dataset).wait(-1)


if __name__ == "__main__":
    main()
