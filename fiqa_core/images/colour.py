"""How much colour an image has, on the whole image."""

import cv2
import numpy as np

_GREY = 8  # levels by which the channels of a grey pixel differ at most


class Colour:
    """Gathers what can only be measured image by image, and measures all images at once."""

    def __init__(self, count: int) -> None:
        self._means = np.zeros((count, 3))
        self._apart = np.zeros((count, 3))
        self._grey = np.zeros(count)

    def add(self, place: int, image: np.ndarray) -> None:
        """Take one image, uint8 (H, W, 3) RGB."""
        red, green, blue = cv2.split(image)
        self._means[place] = cv2.mean(image)[:3]
        pairs = (red, green), (red, blue), (green, blue)
        self._apart[place] = [cv2.norm(one, other, cv2.NORM_L2SQR) / red.size for one, other in pairs]
        span = cv2.subtract(cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue))
        self._grey[place] = cv2.countNonZero(cv2.compare(span, _GREY, cv2.CMP_LE)) / span.size

    def measured(self) -> dict[str, np.ndarray]:
        """Values by measure, float64 (number of images,)."""
        red, green, blue = self._means.T
        red_green, red_blue, green_blue = self._apart.T  # means of squared differences
        mean_rg, mean_yb = red - green, (red + green) / 2 - blue
        # (r + g - 2b)^2 = 2 (r - b)^2 + 2 (g - b)^2 - (r - g)^2, so that no image of yellow less blue has to be made.
        squared_yb = (2 * red_blue + 2 * green_blue - red_green) / 4
        spread = np.sqrt(np.maximum(red_green - mean_rg**2 + squared_yb - mean_yb**2, 0.0))
        return {"colourfulness": spread + 0.3 * np.hypot(mean_rg, mean_yb), "grey": self._grey}
