"""How the columns of a table are written down: one entry each, with type and description."""

from collections.abc import Mapping
from typing import NamedTuple

import pyarrow as pa


class Column(NamedTuple):
    """A column's Arrow type, what it means, and whether it has a value in every row."""

    type: pa.DataType
    description: str
    required: bool = False


def schema_of(columns: Mapping[str, Column]) -> pa.Schema:
    """Arrow schema; each field has its description in its metadata."""
    return pa.schema(
        [
            pa.field(name, column.type, nullable=not column.required, metadata={"description": column.description})
            for name, column in columns.items()
        ]
    )
