"""Show how scores of `examples.make_faces` fall: one line a kind of degradation, one column a step.

python -m examples.show_ladder --table demo/out/quality [--face astronaut]
"""

import argparse

import pandas as pd


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", required=True, help="the quality folder of a scoring run over the faces")
    parser.add_argument("--face", default="astronaut", help="whose, or `all` for the mean of all faces")
    arguments = parser.parse_args()
    table = pd.read_parquet(arguments.table, columns=["key", "quality"])
    table[["face", "kind", "step"]] = table.key.str.rsplit("-", n=2, expand=True)
    if arguments.face != "all":
        table = table[table.face == arguments.face]
    if table.empty:
        raise SystemExit(f"{arguments.table}: no row of a face {arguments.face!r}")
    table["step"] = table.step.astype(int)
    start = table.loc[table.kind == "none", "quality"].mean()
    steps = table[table.kind != "none"].pivot_table(index="kind", columns="step", values="quality")
    steps.insert(0, 0, start)
    print(f"quality of {arguments.face} (higher = more useful), by how much the face was degraded (0 = not at all):")
    print(steps.rename_axis(columns=None, index=None).to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
