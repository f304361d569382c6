"""Pickles of plain values (lists, bytes, numbers, numpy arrays), read without running anything in them."""

from fiqa_core.shards.plain_pickle.machine import PlainPickle
from fiqa_core.shards.plain_pickle.values import Array, Blob, ForbiddenError, PickleError, load_blob, numbers

__all__ = ["Array", "Blob", "ForbiddenError", "PickleError", "PlainPickle", "load_blob", "numbers"]
