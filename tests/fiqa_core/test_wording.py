"""Numbers in messages."""

import pytest

from fiqa_core.wording import counted


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (0, ("unit",), "0 units"),
        (1, ("unit",), "1 unit"),
        (1200, ("unit",), "1,200 units"),
        (1, ("identity", "identities"), "1 identity"),
        (2, ("identity", "identities"), "2 identities"),
    ],
)
def test_one_thing_is_not_said_as_several(number, words, said):
    assert counted(number, *words) == said
