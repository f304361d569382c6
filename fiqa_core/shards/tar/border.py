"""A place of a tar from which it can be read without what lies before."""

import sys
from collections.abc import Mapping
from typing import NamedTuple

from fiqa_core.shards.tar.header import NO_PAX


class Border(NamedTuple):
    """Where a member begins, and all that reading from there needs to know of the bytes before.

    Attributes:
        offset: of the member's first header. old: no header before it had magic.
        first: where the archive that it is in began (archives may be joined); None behind a gap.
        attributes: the global pax attributes in force.
    """

    offset: int
    old: bool
    first: int | None
    attributes: Mapping[bytes, bytes]


START = Border(0, True, 0, NO_PAX)
NO_STOP = sys.maxsize
