"""What own centre, nearest other centre and quality say together."""

import numpy as np
import pytest

from fiqa_core.curation.findings.label_noise.thresholds import Thresholds, find_thresholds
from fiqa_core.curation.findings.label_noise.verdicts import verdicts
from fiqa_core.curation.findings.settings import FindingsSettings, LabelNoiseSettings, NearSettings
from schemas.label_verdicts import LabelVerdict

AT = Thresholds(
    suspect=0.4, doubt=0.5, sure=0.2, match=0.6, merge=0.7, split=0.4, poor=0.1, impostor_mean=0, impostor_deviation=0.1
)
GOOD, POOR = 0.9, 0.05


@pytest.mark.parametrize(
    ("own", "nearest", "quality", "certain", "verdict"),
    [
        (0.8, np.nan, GOOD, True, "agrees"),
        (0.8, np.nan, POOR, True, "agrees"),
        (0.1, 0.8, GOOD, True, "wrong_label"),
        (0.1, 0.8, POOR, True, "wrong_label"),
        (0.1, 0.3, POOR, True, "low_quality"),
        (0.1, 0.05, GOOD, True, "wrong_label"),
        (0.3, 0.35, GOOD, True, "wrong_label"),
        (0.3, 0.25, GOOD, True, "unsure"),
        (0.1, 0.3, GOOD, False, "unsure"),
        (0.1, 0.8, GOOD, False, "wrong_label"),
        (np.nan, np.nan, GOOD, False, "unsure"),
        (0.1, 0.8, np.nan, True, "wrong_label"),
        (0.1, 0.3, np.nan, True, "wrong_label"),
        # No suspect, but another identity is nearer by two deviations of what chance gives.
        (0.45, 0.7, GOOD, True, "wrong_label"),
        (0.45, 0.64, GOOD, True, "agrees"),
        (0.55, 0.9, GOOD, True, "agrees"),
        # A poor image is believed where another is nearer by three, and halfway to a match.
        (0.15, 0.5, POOR, True, "wrong_label"),
        (0.25, 0.5, POOR, True, "low_quality"),
        (0.1, 0.45, POOR, True, "low_quality"),
        (0.15, 0.5, POOR, False, "low_quality"),
        # Nobody else of its identity has a vote.
        (np.nan, 0.7, GOOD, False, "wrong_label"),
        (np.nan, 0.5, GOOD, False, "unsure"),
    ],
)
def test_verdict(own, nearest, quality, certain, verdict):
    found = verdicts(AT, np.array([own]), np.array([nearest]), np.array([quality]), np.array([certain]))
    assert found.tolist() == [LabelVerdict(verdict)]


def test_the_default_threshold_is_what_images_have_with_the_centres_of_others():
    impostors = np.linspace(-0.3, 0.3, 1001)
    own = np.linspace(0.6, 0.9, 100)
    found = find_thresholds(LabelNoiseSettings(), own, impostors, impostors, 50, 0.1)
    assert found.suspect == pytest.approx(0.294)
    assert found.sure == pytest.approx(0.24)
    assert found.suspect < found.doubt <= found.match
    assert 0.6 < found.match < 0.7


def test_thresholds_as_a_cosine_and_as_a_quantile_of_own_cosines():
    own = np.linspace(0, 1, 101)
    none = np.empty(0)
    given = find_thresholds(LabelNoiseSettings(cosine=0.3), own, none, none, 1, 0.1)
    assert given.suspect == given.doubt == 0.3
    assert find_thresholds(LabelNoiseSettings(own_quantile=0.05), own, none, none, 1, 0.1).suspect == pytest.approx(
        0.05
    )
    with pytest.raises(ValueError, match="not as both"):
        LabelNoiseSettings(cosine=0.3, own_quantile=0.1)


def test_one_identity_alone_gives_no_threshold_and_every_image_is_unsure():
    none = np.empty(0)
    found = find_thresholds(LabelNoiseSettings(), np.array([0.9, 0.1]), none, none, 1, 0.1)
    assert np.isnan(found.suspect)
    said = verdicts(found, np.array([0.9, 0.1]), np.full(2, np.nan), np.ones(2), np.ones(2, bool))
    assert set(said) == {LabelVerdict.UNSURE}


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match=r"poor_quantile is 2; expected a share of at least 0 and less than 1"):
        LabelNoiseSettings(poor_quantile=2)
    with pytest.raises(ValueError, match="auto, picture, cosine, phash, either"):
        NearSettings(by="magic")
    with pytest.raises(ValueError, match="bits is 20; expected a whole number from 0 to 15"):
        NearSettings(by="phash", bits=20)
    with pytest.raises(ValueError, match=r"findings\.memory_mib is 0; expected a whole number of at least 1"):
        FindingsSettings(memory_mib=0)
    assert FindingsSettings().digest() != FindingsSettings(near=NearSettings(cosine=0.9)).digest()


def test_a_wrong_label_above_the_threshold_or_of_a_poor_image_is_found_where_another_identity_is_clearly_nearer():
    own = np.array([0.45, 0.1, np.nan])
    clear, vague = np.array([0.7, 0.55, 0.65]), np.array([0.5, 0.35, 0.5])
    quality = np.array([GOOD, POOR, GOOD])
    certain = np.array([True, True, False])
    assert verdicts(AT, own, clear, quality, certain).tolist() == ["wrong_label"] * 3
    assert verdicts(AT, own, vague, quality, certain).tolist() == ["agrees", "low_quality", "unsure"]
