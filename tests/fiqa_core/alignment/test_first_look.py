"""What a look at the first pictures says."""

import logging
from itertools import count

import numpy as np
import pytest

from fiqa_core import Aligner, QualityScorer
from fiqa_core.alignment.first_look import FirstInputs, FirstLook, look_at_first
from tests.makers.photographs import crops, needs_packaged_detector, packaged_detector, photograph_files, photographs


@needs_packaged_detector
def test_photographs_are_told_from_aligned_crops():
    blank = np.zeros((112, 112, 3), np.uint8)
    of_photographs = look_at_first([*photographs(8), blank], packaged_detector())
    assert of_photographs == FirstLook(looked=9, not_aligned=8, no_face=1)
    assert of_photographs.warning == (
        "8 of 9 are not aligned crops (in 1 of 9 pictures no face was found); scores of such pictures mean little: "
        "--align"
    )
    of_crops = look_at_first(crops(30), packaged_detector())
    assert of_crops.looked == 30
    assert of_crops.warning is None


@needs_packaged_detector
def test_no_more_pictures_are_asked_for_than_are_looked_at():
    numbers = count()
    pictures = (np.full((64, 64, 3), next(numbers) % 256, np.uint8) for _ in count())
    assert look_at_first(pictures, packaged_detector(), most=5) == FirstLook(looked=5, not_aligned=0, no_face=5)
    assert next(numbers) == 5


def test_a_few_odd_crops_are_not_worth_a_warning():
    assert FirstLook(64, 12, 20).warning is None
    assert FirstLook(64, 61, 0).warning == (
        "61 of 64 are not aligned crops; scores of such pictures mean little: --align"
    )
    assert FirstLook(64, 0, 60).warning == (
        "in 60 of 64 pictures no face was found; scores of such pictures mean little: --align"
    )
    assert FirstLook().warning is None


@needs_packaged_detector
def test_the_api_warns_once_that_pictures_are_not_aligned_crops(caplog):
    scorer = QualityScorer.from_checkpoint(device="cpu")
    files = photograph_files(3)
    with caplog.at_level(logging.WARNING):
        before = scorer.score(files)
        scorer.score(files)
    assert [record.getMessage() for record in caplog.records] == [
        "3 of 3 are not aligned crops; scores of such pictures mean little: give an aligner"
    ]
    caplog.clear()
    aligned = scorer.score(files, aligner=Aligner.from_detector())
    assert (aligned > before + 0.1).all()
    assert not caplog.records


@needs_packaged_detector
def test_the_api_does_not_warn_of_aligned_crops(caplog):
    first = FirstInputs()
    for pixels in crops(8):
        first.see(pixels)
    with caplog.at_level(logging.WARNING):
        first.warn()
    assert not caplog.records


@needs_packaged_detector
def test_an_aligner_that_gives_several_crops_a_picture_gives_no_one_crop():
    with pytest.raises(ValueError, match="several crops a picture"):
        Aligner.from_detector(faces="all").crop(crops(1)[0])
