"""Faces that further rules would take, as clean_dataset found them."""

from collections.abc import Mapping, Sequence
from typing import Any

from fiqa_core.curation.recipe.further_rules import Taken
from fiqa_core.report.faces import Beside, Item, item_of
from fiqa_core.report.settings import ReportError
from fiqa_core.runs.layout import unsealed


def read_further(url: str, rows: int) -> list[Taken]:
    """The rules with their rows, from the file that clean_dataset wrote; `rows`: of the tables of the report.

    Raises:
        ReportError: not such a file, or one about other tables.
    """
    content = unsealed(url)
    try:
        found = [Taken.of_dict(values) for values in (content or {})["rules"]]
        rids = rids_of(found)
    except (KeyError, TypeError, ValueError) as error:
        raise ReportError(f"{url}: not what `fiqa clean` writes. Run it again.") from error
    if rids and max(rids) >= rows:
        raise ReportError(f"{url}: is about other tables. Run `fiqa clean` again.")
    return found


def rids_of(further: Sequence[Taken]) -> list[int]:
    """The rows that are shown, and those beside them."""
    rids = [rid for taken in further for shown in taken.rows for rid in (shown.rid, shown.other)]
    return [rid for rid in rids if rid is not None]


def code_of(number: int) -> str:
    """What the gallery of a rule is called on the page."""
    return f"further-{number}"


def further_items(
    further: Sequence[Taken], rows: Mapping[int, Mapping[str, Any]], best: Mapping[str, int]
) -> dict[str, list[Item]]:
    """The faces of each rule with why, by gallery. Args: as of `item_of`."""
    return {code_of(number): [_item(shown, rows, best) for shown in taken.rows] for number, taken in enumerate(further)}


def _item(shown: Any, rows: Mapping[int, Mapping[str, Any]], best: Mapping[str, int]) -> Item:
    if shown.other is not None:
        alike = "" if shown.similarity is None else f"similarity {shown.similarity:.3f}"
        return Item(shown.rid, alike, (Beside(shown.other, "would stay"),), role="would go")
    return item_of(shown.rid, rows[shown.rid], best, {}, {})
