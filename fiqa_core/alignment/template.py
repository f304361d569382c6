"""The ArcFace template: where five landmarks lie in an aligned 112x112 crop, and the warp that takes a face there."""

import numpy as np

from fiqa_core.alignment.warping import square_view

SIDE = 112  # pixels

# InsightFace's `arcface_dst`: x, y of the eyes, nose tip and mouth corners; left and right are the viewer's.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


def similarity_transform(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotation, uniform scale and shift that takes points to others with the least squared distance.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 1991.

    Args:
        source, target: (N, 2) points in pixels, in the same order.

    Returns:
        float64 (2, 3): `matrix @ (x, y, 1)`; all zero scale where the source points are all one point.
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    centred, aimed = source - source_mean, target - target_mean
    u, singular, v = np.linalg.svd(aimed.T @ centred / len(source))
    signs = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(v)) or 1.0])  # no mirror images
    variance = (centred**2).sum() / len(source)
    scale = (singular * signs).sum() / variance if variance > 0 else 0.0
    linear = scale * (u * signs) @ v
    return np.column_stack([linear, target_mean - linear @ source_mean])


def to_template(landmarks: np.ndarray) -> np.ndarray:
    """The similarity transform, float64 (2, 3), of five landmarks (5, 2) to the template."""
    return similarity_transform(np.asarray(landmarks, np.float64), TEMPLATE)


def warp(pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The aligned crop, uint8 (112, 112, 3), of uint8 (H, W, 3): bilinear, black outside of the picture.

    As InsightFace's `norm_crop` does it (cv2.warpAffine, INTER_LINEAR), so that scores are comparable.
    """
    return square_view(pixels, matrix, SIDE)


def distance_from_template(landmarks: np.ndarray, width: int, height: int) -> float:
    """How far a picture is from an aligned crop, in pixels of the 112x112 crop; 0 = it is one.

    The picture is taken at 112x112, as the network gets it without alignment. The distance is by how far the transform
    that would align it moves the template's points (root mean square). It does not count what no similarity transform
    can change: eyes that are near each other in a face seen from the side.

    Args:
        landmarks: (5, 2) in pixels of the picture. width, height: of the picture, upright, in pixels.
    """
    resize = np.array([SIDE / width, SIDE / height])
    matrix = to_template((landmarks + 0.5) * resize - 0.5)
    moved = TEMPLATE @ matrix[:, :2].T + matrix[:, 2]
    return float(np.sqrt(((moved - TEMPLATE) ** 2).sum(axis=1).mean()))
