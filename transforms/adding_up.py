"""Results of many units or tasks as one."""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import apache_beam as beam

A = TypeVar("A")


class AddUp(beam.CombineFn, Generic[A]):
    """Adds results up, in any order.

    Args:
        nothing: makes the sum of zero results. add: combines two sums; associative. Both are picklable.
    """

    def __init__(self, nothing: Callable[[], A], add: Callable[[A, A], A]) -> None:
        super().__init__()
        self._nothing, self._add = nothing, add

    def create_accumulator(self) -> A:
        """Nothing yet."""
        return self._nothing()

    def add_input(self, accumulator: A, result: A) -> A:
        """One more result."""
        return self._add(accumulator, result)

    def merge_accumulators(self, accumulators: Iterable[A]) -> A:
        """Partial sums together."""
        total = self._nothing()
        for accumulator in accumulators:
            total = self._add(total, accumulator)
        return total

    def extract_output(self, accumulator: A) -> A:
        """The sum itself."""
        return accumulator
