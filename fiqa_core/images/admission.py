"""Which images are admitted: size limits, and the exception that carries the reason for a refusal."""

from dataclasses import dataclass

from fiqa_core.errors import FiqaError
from schemas.reasons import Status


@dataclass(frozen=True)
class ImageLimits:
    """Admitted sizes in pixels of the stored image; the limits themselves are admitted.

    Attributes:
        min_side: shortest side; a smaller face shows too little to be judged.
        max_side: longest side.
        max_pixels: width times height; it bounds the memory that one image can take (about 16 bytes a
            pixel while it is decoded).
    """

    min_side: int = 16
    max_side: int = 10_000
    max_pixels: int = 40_000_000


class ImageRejected(FiqaError):  # noqa: N818 - an outcome with a reason code, not a mistake
    """An image that cannot be scored, and why.

    Attributes:
        status: the reason code.
        message: one sentence for people: what was found and what was expected.
        width, height: the stored size in pixels, or None if the file ends before them, or names a
            number that does not fit 32 bits.
    """

    def __init__(self, status: Status, message: str, width: int | None = None, height: int | None = None) -> None:
        # All four go to `args`, from which pickle calls this function in another process.
        super().__init__(status, message, width, height)
        self.status = status
        self.message = message
        self.width = _possible(width)
        self.height = _possible(height)

    def __str__(self) -> str:
        return f"{self.status}: {self.message}"


def _possible(side: int | None) -> int | None:
    return side if side is not None and 0 <= side < 1 << 31 else None


def check_size(width: int, height: int, limits: ImageLimits) -> None:
    """Refuse a stored size outside the limits, before memory is allocated for its pixels.

    Raises:
        ImageRejected: CORRUPT (a side of no pixels), TOO_LARGE or TOO_SMALL.
    """
    shorter, longer = (width, height) if width < height else (height, width)
    if limits.min_side <= shorter >= 1 and longer <= limits.max_side and width * height <= limits.max_pixels:
        return
    found = f"the image is {width} x {height} pixels"
    if width < 1 or height < 1:
        raise ImageRejected(Status.CORRUPT, f"{found}, so it has none", width, height)
    if max(width, height) > limits.max_side:
        raise ImageRejected(Status.TOO_LARGE, f"{found}; a side may have {limits.max_side} at most", width, height)
    if width * height > limits.max_pixels:
        raise ImageRejected(
            Status.TOO_LARGE,
            f"{found}, {width * height} in all; {limits.max_pixels} are admitted",
            width,
            height,
        )
    if min(width, height) < limits.min_side:
        raise ImageRejected(Status.TOO_SMALL, f"{found}; a side must have {limits.min_side} at least", width, height)


def decoder_failure(
    image_format: str, error: Exception, width: int | None = None, height: int | None = None
) -> ImageRejected:
    """The refusal for an exception of a decoder; decoders describe damage in words only."""
    message, text = str(error) or type(error).__name__, str(error).lower()
    if isinstance(error, MemoryError):
        status, message = Status.TOO_LARGE, "there is not enough memory to decode it"
    elif "exceeds limit" in text:
        status = Status.TOO_LARGE
    elif any(words in text for words in ("truncated", "no more images", "unexpected end")):
        status = Status.TRUNCATED
    elif any(words in text for words in ("unsupported", "not supported", "not available", "unknown")):
        status = Status.UNSUPPORTED
    else:
        status = Status.CORRUPT
    return ImageRejected(status, f"{image_format}: {message}", width, height)
