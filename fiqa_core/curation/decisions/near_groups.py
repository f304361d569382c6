"""Which rows are dropped because a better row shows nearly the same picture.

Rows with the same stored bytes are one `thing`. Things are near each other in two ways: as a pair, or as members of a
crowd, who all count as near each other. A crowd of n members costs n steps, not n * n.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

# Sorts rows so that the one to keep comes first: group numbers of rows -> places of rows, group by group.
Order = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Nearness:
    """Which things are near each other; things are numbered from 0, and crowds after them.

    Attributes:
        things: how many there are.
        one, other, similarity: pairs of things, or of crowds whose pairs hold for all their members.
        member, crowd, closeness: each thing in a crowd, the crowd, and how near the thing is to the crowd's middle.
        crowds: how many there are.
    """

    things: int
    one: np.ndarray
    other: np.ndarray
    similarity: np.ndarray
    member: np.ndarray
    crowd: np.ndarray
    closeness: np.ndarray
    crowds: int

    @property
    def hubs(self) -> int:
        """Number of things and crowds."""
        return self.things + self.crowds


class Gone(NamedTuple):
    """Dropped rows (places), the row that each is a duplicate of, and their similarity (float32)."""

    row: np.ndarray
    other: np.ndarray
    similarity: np.ndarray


def near_duplicates(near: Nearness, thing: np.ndarray, identity: np.ndarray, scope: str, order: Order) -> Gone:
    """From the best row down, a row is dropped if a kept row is near it.

    So a group of copies keeps its best row, and in a chain of pairs the far end is kept unless it is itself near a
    kept row.

    Args:
        thing: int64 (n,), the thing that each row shows. identity: int64 (n,). order: see `Order`.
        scope: `within` one identity, `across` identities (rows of one identity never drop each other), or `all`.
    """
    if scope == "all":
        identity = np.zeros_like(identity)
    # Rows with the same bytes under one identity are one node; the best of them represents it.
    count = int(identity.max(initial=0)) + 1
    keys, node = np.unique(thing * count + identity, return_inverse=True)
    things, identities = keys // count, keys % count
    groups = _groups(near, things, identities, scope)[node]
    sorted_rows = order(groups)
    place = np.empty(len(thing), np.int64)
    place[sorted_rows] = np.arange(len(thing))
    best = np.full(len(keys), len(thing), np.int64)
    np.minimum.at(best, node, place)
    stays, other, similarity = _resolved(near, things, identities, best, scope == "across")
    gone = np.flatnonzero(~stays[node])
    found = [(gone, sorted_rows[best[other[node[gone]]]], similarity[node[gone]])]
    if scope != "across":
        again = np.flatnonzero(stays[node] & (place != best[node]))
        found.append((again, sorted_rows[best[node[again]]], np.ones(len(again), np.float32)))
    row, of, alike = (np.concatenate([some[column] for some in found]) for column in range(3))
    return Gone(row, of, alike)


def _resolved(
    near: Nearness, things: np.ndarray, identities: np.ndarray, best: np.ndarray, across: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each node: whether it is kept; if not, the node that it is a duplicate of, and their similarity."""
    pairs = _Lists(
        np.concatenate([near.one, near.other]),
        np.concatenate([near.other, near.one]),
        np.concatenate([near.similarity, near.similarity]),
        near.hubs,
    )
    crowds = _Lists(near.member, near.crowd, near.closeness, near.things)
    kept = _OtherIdentity() if across else _SameIdentity()
    beside = _OtherIdentity() if across else _SameIdentity()
    thing_of, identity_of = things.tolist(), identities.tolist()
    stays = np.zeros(len(things), bool)

    def nearest(node: int) -> tuple[float, int, int] | None:
        """The nearest kept node: (-similarity, its rank, node)."""
        own = thing_of[node]
        found = []
        for hub, closeness in [(own, 1.0), *crowds.of(own)]:
            held = kept.get(hub, identity_of[node])
            if held is not None:
                found.append((max(held[0], -closeness), *held[1:]))
            held = beside.get(hub, identity_of[node])
            if held is not None:
                found.append(held)
        return min(found) if found else None

    for rank, node in enumerate(np.argsort(best, kind="stable").tolist()):
        if nearest(node) is not None:
            continue
        stays[node] = True
        own, identity = thing_of[node], identity_of[node]
        for hub, closeness in [(own, 1.0), *crowds.of(own)]:
            kept.add(hub, identity, (-closeness, rank, node))
            for beyond, similarity in pairs.of(hub):
                beside.add(beyond, identity, (-similarity, rank, node))
    other = np.full(len(things), -1, np.int64)
    alike = np.ones(len(things), np.float32)
    for node in np.flatnonzero(~stays).tolist():
        found = nearest(node)
        if found is None:
            raise RuntimeError("a row was dropped as a near duplicate of nothing")
        other[node], alike[node] = found[2], -found[0]
    return stays, other, alike


class _Lists:
    """(number, value) pairs by an owner."""

    def __init__(self, owner: np.ndarray, number: np.ndarray, value: np.ndarray, owners: int) -> None:
        order = np.argsort(owner, kind="stable")
        self._start = np.searchsorted(owner[order], np.arange(owners + 1)).tolist()
        self._pairs = list(zip(number[order].tolist(), value[order].tolist(), strict=True))

    def of(self, owner: int) -> list[tuple[int, float]]:
        return self._pairs[self._start[owner] : self._start[owner + 1]]


_Held = tuple[float, int, int]


class _SameIdentity:
    """By hub and identity the nearest kept row; of equally near ones the best."""

    def __init__(self) -> None:
        self._held: dict[tuple[int, int], _Held] = {}

    def add(self, hub: int, identity: int, held: _Held) -> None:
        self._held[hub, identity] = min(held, self._held.get((hub, identity), held))

    def get(self, hub: int, identity: int) -> _Held | None:
        return self._held.get((hub, identity))


class _OtherIdentity:
    """The nearest kept row of another identity: it is enough to store the two nearest of different identities."""

    def __init__(self) -> None:
        self._held: dict[int, list[tuple[_Held, int]]] = {}

    def add(self, hub: int, identity: int, held: _Held) -> None:
        nearest: dict[int, _Held] = {}
        for some, who in sorted([*self._held.get(hub, []), (held, identity)]):
            nearest.setdefault(who, some)
        self._held[hub] = [(some, who) for who, some in nearest.items()][:2]

    def get(self, hub: int, identity: int) -> _Held | None:
        return next((held for held, who in self._held.get(hub, []) if who != identity), None)


def _groups(near: Nearness, things: np.ndarray, identities: np.ndarray, scope: str) -> np.ndarray:
    """Number of each node's group: nodes that a chain of near rows connects, in this scope."""
    member, node_of_member = _spread(near.member, np.searchsorted(things, np.arange(near.things + 1)))
    node = np.concatenate([np.arange(len(things)), node_of_member])
    hub = np.concatenate([things, near.crowd[member]])
    # A pair is its own hub: it connects the nodes of both sides.
    order = np.argsort(hub, kind="stable")
    side, place = _spread(np.concatenate([near.one, near.other]), np.searchsorted(hub[order], np.arange(near.hubs + 1)))
    node = np.concatenate([node, node[order][place]])
    hub = np.concatenate([hub, near.hubs + side % max(len(near.one), 1)])
    if scope == "across":
        # Rows of one identity are not compared: a hub connects its nodes only if it holds two identities.
        sizes = (int(hub.max(initial=-1)) + 1,)
        low, high = np.full(sizes, np.iinfo(np.int64).max), np.full(sizes, -1)
        np.minimum.at(low, hub, identities[node])
        np.maximum.at(high, hub, identities[node])
        mixed = (low != high)[hub]
        node, key = node[mixed], hub[mixed]
    else:
        key = hub * (int(identities.max(initial=0)) + 1) + identities[node]
    _, number = np.unique(key, return_inverse=True)
    count = len(things) + int(number.max(initial=-1)) + 1
    return components(count, node, len(things) + number)[: len(things)]


def _spread(owners: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each owner all numbers from its start to the next owner's start: (place in `owners`, number)."""
    counts = starts[owners + 1] - starts[owners]
    place = np.repeat(np.arange(len(owners)), counts)
    within = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts)
    return place, starts[owners][place] + within


def components(count: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The least number that each of 0..count-1 is connected with by pairs (a, b); takes a logarithmic number of
    rounds."""
    root = np.arange(count)
    while True:
        one, other = root[a], root[b]
        apart = one != other
        if not apart.any():
            return root
        np.minimum.at(root, np.maximum(one, other)[apart], np.minimum(one, other)[apart])
        while not np.array_equal(root, root[root]):
            root = root[root]
