"""Columns that say why a face scores as it does: simple measures of the 112x112 image (`--measures`)."""

from typing import NamedTuple


class ComponentColumn(NamedTuple):
    """What a measure is: in words, its unit, and which way is better for recognition ("" = neither end is)."""

    description: str
    unit: str
    direction: str


# All are ours, measured on the whole 112x112 image as the network sees it, so they do not equal a component of ISO/IEC
# 29794-5 or OFIQ, which look at other parts of the face.
COMPONENTS: dict[str, ComponentColumn] = {
    "luminance_mean": ComponentColumn("Mean luminance (BT.601).", "grey levels, 0..255", ""),
    "luminance_spread": ComponentColumn("Standard deviation of the luminance.", "grey levels", "higher = better"),
    "underexposed": ComponentColumn("Share of pixels of luminance 25 or less.", "share", "lower = better"),
    "overexposed": ComponentColumn("Share of pixels of luminance 247 or more.", "share", "lower = better"),
    "dynamic_range": ComponentColumn("Entropy of the luminance's 256 levels.", "bits, 0..8", "higher = better"),
    "contrast": ComponentColumn(
        "Distance of the 5th from the 95th percentile of the luminance.", "grey levels, 0..255", "higher = better"
    ),
    "sharpness": ComponentColumn(
        "Variance of the Laplacian of the luminance; noise raises it too.", "squared grey levels", "higher = better"
    ),
    "noise": ComponentColumn(
        "Standard deviation of noise, estimated after Immerkaer (1996); fine texture raises it too.",
        "grey levels",
        "lower = better",
    ),
    "colourfulness": ComponentColumn(
        "Colourfulness after Hasler and Suesstrunk (2003); 0 for a grey image.", "none", ""
    ),
    "grey": ComponentColumn("Share of pixels whose three channels differ by 8 levels at most.", "share", ""),
    "detail": ComponentColumn(
        "Share of the luminance's energy (without its mean) at the finest scale, that of single pixels (Haar); an "
        "enlarged or blurred image has next to none.",
        "share",
        "higher = better",
    ),
    "blocking": ComponentColumn(
        "Mean luminance step across the borders of 8x8 blocks over that inside them; 1 = none. Shows JPEG blocks only "
        "where the stored image is 112x112 and was not warped; `quantisation` says more.",
        "ratio",
        "lower = better",
    ),
    "side_light": ComponentColumn(
        "Difference of the mean luminances of the left and right half over their sum; 0 = lit evenly.",
        "share",
        "lower = better",
    ),
}
