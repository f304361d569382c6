"""Columns that say why a face scores as it does: simple measures of face, file and landmarks (`--measures`).

A component of ISO/IEC 29794-5 has two columns: its own value, and the quality component made of it, 0..100, with
`QUALITY` behind its name. The names are OFIQ's in snake case. The other measures are ours, and have one column.
"""

from typing import NamedTuple

QUALITY = "_quality"

HIGHER, LOWER, NEITHER = "higher = better", "lower = better", ""


class ComponentColumn(NamedTuple):
    """What a measure is: in words, its unit, and which way is better for recognition ("" = neither end is)."""

    description: str
    unit: str
    direction: str


_SHARE = "share"
_FACE = "of the face region of the aligned crop (fiqa_core/images/face_region.py)"


def _with_quality(name: str, description: str, unit: str, direction: str) -> dict[str, ComponentColumn]:
    quality = f"Quality component of ISO/IEC 29794-5 by OFIQ's mapping, made of `{name}`."
    return {
        name: ComponentColumn(description, unit, direction),
        name + QUALITY: ComponentColumn(quality, "quality, 0..100", HIGHER),
    }


PIXEL_COMPONENTS: dict[str, ComponentColumn] = {
    **_with_quality(
        "luminance_mean", f"Mean linear luminance (Rec. 709) {_FACE}.", "share of full light, 0..1", NEITHER
    ),
    **_with_quality("luminance_variance", f"Variance of the linear luminance {_FACE}.", "squared share", NEITHER),
    **_with_quality(
        "under_exposure_prevention",
        f"Share of the pixels {_FACE} with linear luminance 25 of 255 or less.",
        _SHARE,
        LOWER,
    ),
    **_with_quality(
        "over_exposure_prevention",
        f"Share of the pixels {_FACE} with linear luminance 247 of 255 or more.",
        _SHARE,
        LOWER,
    ),
    **_with_quality("dynamic_range", f"Entropy of the 256 levels of linear luminance {_FACE}.", "bits, 0..8", HIGHER),
    **_with_quality(
        "illumination_uniformity",
        "How far the histograms of linear luminance of the left and the right cheek agree; 1 = lit evenly.",
        _SHARE,
        HIGHER,
    ),
    **_with_quality(
        "natural_colour",
        "How far the mean colour of both cheeks is from the colours of skin (a* 5..25, b* 5..35 of CIELAB); 100 if a* "
        "or b* is negative, as in grey images and where red and blue are exchanged.",
        "CIELAB units",
        LOWER,
    ),
    "side_light": ComponentColumn(
        "Difference of the mean luminances of the left and right half over their sum; 0 = lit evenly.", _SHARE, LOWER
    ),
    "contrast": ComponentColumn(
        "Distance of the 5th from the 95th percentile of the luminance (BT.601).", "grey levels, 0..255", HIGHER
    ),
    "sharpness": ComponentColumn(
        "Variance of the Laplacian of the luminance; noise raises it too. Not OFIQ's, which is a trained forest.",
        "squared grey levels",
        HIGHER,
    ),
    "noise": ComponentColumn(
        "Standard deviation of noise, estimated after Immerkaer (1996); fine texture raises it too.",
        "grey levels",
        LOWER,
    ),
    "detail": ComponentColumn(
        "Share of the luminance's energy (without its mean) at the finest scale, that of single pixels (Haar).",
        _SHARE,
        HIGHER,
    ),
    "resolution": ComponentColumn(
        "Pixels a side that hold all that the 112x112 image shows, found in its spectrum; 112 = all of them, less "
        "= enlarged (or blurred).",
        "pixels, 1..112",
        HIGHER,
    ),
    "blocking": ComponentColumn(
        "Mean luminance step across the borders of 8x8 blocks over that inside them; 1 = no JPEG blocks. Null unless "
        "the stored image is 112x112 and was not warped: elsewhere blocks do not lie where they were coded.",
        "ratio",
        LOWER,
    ),
    "colourfulness": ComponentColumn(
        "Colourfulness after Hasler and Suesstrunk (2003); 0 for a grey image.", "none", NEITHER
    ),
    "grey": ComponentColumn("Share of pixels whose three channels differ by 8 levels at most.", _SHARE, NEITHER),
}

FILE_COMPONENTS: dict[str, ComponentColumn] = {
    "compression_quality": ComponentColumn(
        "Quality setting of a JPEG writer (IJG) that the file's quantisation tables stand for; for a file without "
        "tables the one that blocks in the pixels look like (`blocking`). Null where neither shows it.",
        "JPEG quality, 1..100",
        HIGHER,
    ),
}

COMPONENTS: dict[str, ComponentColumn] = PIXEL_COMPONENTS | FILE_COMPONENTS
"""What `--measures` adds to any table."""

_EYES = "distances between the eyes"
_CHIN = "distances of the chin from the eyes (of an average face with such eyes and mouth)"

POSE: dict[str, ComponentColumn] = {
    name: ComponentColumn(description, "degrees", "nearer to 0 = better")
    for name, description in {
        "pose_yaw": "Positive = the face is turned to the viewer's right. From five landmarks: coarse "
        "(fiqa_core/alignment/pose.py).",
        "pose_pitch": "Positive = the face looks up. Relative to the average face of news photographs; coarse.",
        "pose_roll": "Positive = the head leans clockwise as the viewer sees it.",
    }.items()
}
"""Columns of `--align`, with or without `--measures`."""

LANDMARK_COMPONENTS: dict[str, ComponentColumn] = {
    **{
        name + QUALITY: ComponentColumn(
            f"Quality component of ISO/IEC 29794-5 by OFIQ's mapping, made of `{name}`.", "quality, 0..100", HIGHER
        )
        for name in POSE
    },
    **_with_quality(
        "inter_eye_distance",
        "Distance between the eyes, were the face seen from the front (divided by the cosine of `pose_yaw`).",
        "pixels of the upright picture",
        HIGHER,
    ),
    **_with_quality(
        "head_size", "Distance of the chin from the eyes over the picture's height; 0.45 is best.", _SHARE, NEITHER
    ),
    **_with_quality(
        "leftward_crop_of_the_face_image",
        "Room from the picture's left edge to the eye on the right; less than about 1 = the face is cut on the left.",
        _EYES,
        HIGHER,
    ),
    **_with_quality(
        "rightward_crop_of_the_face_image",
        "Room from the eye on the left to the picture's right edge; less than about 1 = the face is cut on the right.",
        _EYES,
        HIGHER,
    ),
    **_with_quality("margin_above_of_the_face_image", "Room from the picture's upper edge to the eyes.", _CHIN, HIGHER),
    **_with_quality("margin_below_of_the_face_image", "Room from the eyes to the picture's lower edge.", _CHIN, HIGHER),
}
"""What `--measures` adds where `--align` found landmarks."""
