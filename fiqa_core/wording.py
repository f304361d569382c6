"""Numbers of things in messages for people."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 unit`, `0 units`, `1,200 units`; `plural` where it is not the noun with an s (`1 row is`, `2 rows are`)."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
