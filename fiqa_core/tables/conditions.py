"""Conditions on one row that a person writes, such as `pose_yaw > 60`: checked word by word, never evaluated as code.

DuckDB's own parser takes a condition apart. It may have columns, values, comparisons, arithmetic, AND, OR, NOT, IN,
BETWEEN, LIKE and IS NULL. Functions, aggregates, subqueries and other tables are refused, so a condition sees one row
and nothing else, and the same row gives the same answer in every table.
"""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from fiqa_core.errors import FiqaError
from fiqa_core.tables.row_query import LOCKED, reason_of
from fiqa_core.wording import one_line

_LONGEST = 2000  # characters
_BEFORE, _AFTER = "SELECT 1 FROM t WHERE (\n", "\n)"  # the line break ends a comment of the condition
# Kinds of nodes in DuckDB's tree; of the kind FUNCTION only these signs, of OPERATOR only these.
_KINDS = {"COMPARISON", "CONJUNCTION", "BETWEEN", "CONSTANT", "COLUMN_REF", "CAST", "TYPE", "OPERATOR", "FUNCTION"}
_OPERATORS = {"OPERATOR_NOT", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "COMPARE_IN", "COMPARE_NOT_IN"}
_SIGNS = {"+", "-", "*", "/", "//", "%", "||", "~~", "!~~", "~~*", "!~~*", "~~~"}
_SIGNS |= {"like_escape", "not_like_escape", "ilike_escape", "not_ilike_escape"}
_IN_WORDS = {
    "SUBQUERY": "a subquery", "WINDOW": "a window function", "STAR": "*", "CASE": "CASE", "LAMBDA": "a lambda",
    "PARAMETER": "a parameter", "POSITIONAL_REFERENCE": "a column by number", "COLLATE": "COLLATE",
}  # fmt: skip
ALLOWED = "columns, values, comparisons, + - * / %, AND, OR, NOT, IN, BETWEEN, LIKE, IS NULL"


class ConditionError(FiqaError, ValueError):
    """A text is not a condition on one row; the message says what is wrong with it."""


@dataclass(frozen=True)
class Condition:
    """A condition that passed the check. `columns`: names as it writes them, each once."""

    text: str
    columns: tuple[str, ...]

    def of(self, rows: pa.RecordBatch, database: Any) -> pa.BooleanArray:
        """Whether it holds for each row, in order; null where it cannot be said because a value is null.

        Args:
            rows: only its columns, in types without dictionaries. database: of `condition_database`.

        Raises:
            ConditionError: types that do not go together, or a text that is not the number it is compared with.
        """
        try:
            found = database.from_arrow(rows).project(f"(\n{self.text}\n) AS holds")
            if str(found.types[0]) != "BOOLEAN":
                raise ConditionError(f"it gives {found.types[0]}, expected true or false")
            return found.to_arrow_table()["holds"].combine_chunks()
        except duckdb.Error as error:
            raise ConditionError(reason_of(error)) from error


@functools.lru_cache(maxsize=256)
def parse_condition(text: str) -> Condition:
    """Check what a person wrote.

    Raises:
        ConditionError: not one condition, or one with something that is not allowed.
    """
    text = text.strip()
    if not text:
        raise ConditionError("it is empty")
    if len(text) > _LONGEST or "\0" in text:
        raise ConditionError(f"it has more than {_LONGEST:,} characters, or one that is not text")
    with condition_database() as database:
        found, frame = (_tree(each, database) for each in (text, "true"))
    where = found["node"].pop("where_clause", None)
    frame["node"].pop("where_clause")
    if where is None or found != frame:
        raise ConditionError("it is not one condition: its parentheses, or a word of SQL, end it early")
    columns = dict.fromkeys(_columns(where))
    if not columns:
        raise ConditionError("it names no column, so it holds for all rows or for none")
    return Condition(text, tuple(columns))


def condition_database() -> Any:
    """A database in memory without tables, files and extensions, for `Condition.of`."""
    database = duckdb.connect(":memory:", config=LOCKED | {"lock_configuration": "false", "threads": "1"})
    database.execute("SET TimeZone = 'UTC'")  # times without a zone mean the same on every machine
    # x / 0 is null, and nulls do not match.
    database.execute("SET ieee_floating_point_ops = false")
    database.execute("SET error_on_division_by_zero = false")
    database.execute("SET lock_configuration = true")
    return database


def _tree(text: str, database: Any) -> dict[str, Any]:
    written = database.execute("SELECT json_serialize_sql(?)", [f"{_BEFORE}{text}{_AFTER}"]).fetchone()[0]
    parsed: dict[str, Any] = json.loads(written)
    if parsed.get("error"):
        message = one_line(Exception(str(parsed.get("error_message"))), 200).rstrip(".")
        word = re.search(r'near "(\w+)"', message)
        hint = f" (a column of the name {word[1]} goes in double quotes)" if word else ""
        raise ConditionError(f"{message}{hint}")
    statements = parsed["statements"]
    if len(statements) != 1 or statements[0]["node"]["type"] != "SELECT_NODE":
        raise ConditionError("it is not one condition")
    found: dict[str, Any] = statements[0]
    return found


def _columns(where: Any) -> Iterator[str]:
    """Names of columns in a tree, all of whose nodes are allowed ones."""
    waiting = [where]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        if not isinstance(node, dict):
            continue
        if "class" in node:
            _refuse_kind(node)
            if node["class"] == "COLUMN_REF":
                if len(node["column_names"]) > 1:
                    name = ".".join(node["column_names"])
                    raise ConditionError(f"the name {name} has a dot: put the whole name in double quotes")
                yield node["column_names"][0]
        waiting += node.values()


def _refuse_kind(node: Mapping[str, Any]) -> None:
    kind = node["class"]
    if kind == "FUNCTION" and not (node["is_operator"] and node["function_name"] in _SIGNS):
        raise ConditionError(f"it calls {node['function_name']}(), and functions are not allowed, only {ALLOWED}")
    if kind not in _KINDS or (kind == "OPERATOR" and node["type"] not in _OPERATORS):
        name = _IN_WORDS.get(kind, str(node["type"]).removeprefix("OPERATOR_"))
        raise ConditionError(f"it has {name}, which is not allowed, only {ALLOWED}")
