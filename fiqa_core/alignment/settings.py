"""What an alignment depends on."""

from dataclasses import dataclass

DEFAULT_SCORE = 0.7
METHOD = "yunet-close-up-v1"  # changes whenever the same picture and detector would give another crop


@dataclass(frozen=True)
class AlignSettings:
    """What changes which face is found and how it is warped.

    Attributes:
        detector_sha256: hex, of the detector's file.
        faces: the rule for several faces (`FaceRule`).
        least_score: the detector's least score of a face, 0..1.
        method: how landmarks are found and warped.
    """

    detector_sha256: str
    faces: str = "centre"
    least_score: float = DEFAULT_SCORE
    method: str = METHOD


@dataclass(frozen=True)
class CropSettings:
    """How aligned faces are written.

    Attributes:
        image_format: png (without loss) or jpeg.
        jpeg_quality: 1 to 100; used for jpeg only.
    """

    image_format: str = "png"
    jpeg_quality: int = 95
