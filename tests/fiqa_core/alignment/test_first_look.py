"""What a look at the first pictures says."""

from itertools import count

import numpy as np

from fiqa_core.alignment.aligner import Aligner
from fiqa_core.alignment.first_look import FirstLook, look_at_first
from tests.makers.photographs import crops, needs_packaged_detector, packaged_detector, photographs


@needs_packaged_detector
def test_photographs_are_told_from_aligned_crops():
    aligner = Aligner(packaged_detector())
    blank = np.zeros((112, 112, 3), np.uint8)
    of_photographs = look_at_first([*photographs(12), blank], aligner)
    assert (of_photographs.looked, of_photographs.not_aligned, of_photographs.no_face) == (13, 12, 1)
    assert of_photographs.warning == (
        "12 of 13 are not aligned crops (and in 1 no face was found); scores of such pictures mean little: --align"
    )
    of_crops = look_at_first(crops(30), aligner)
    assert of_crops.looked == 30
    assert of_crops.warning is None


@needs_packaged_detector
def test_no_more_pictures_are_asked_for_than_are_looked_at():
    numbers = count()
    look = look_at_first((np.full((64, 64, 3), next(numbers) % 256, np.uint8) for _ in count()), _aligner(), most=5)
    assert look == FirstLook(looked=5, not_aligned=0, no_face=5)
    assert next(numbers) == 5


def test_a_few_odd_crops_are_not_worth_a_warning():
    assert FirstLook(64, 6, 0).warning is None
    assert FirstLook(64, 61, 0).warning == (
        "61 of 64 are not aligned crops; scores of such pictures mean little: --align"
    )
    assert FirstLook(0, 0, 0).warning is None


def _aligner():
    return Aligner(packaged_detector())
