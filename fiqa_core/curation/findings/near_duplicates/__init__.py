"""Pairs of images that show nearly the same picture, by embedding and by perceptual hash."""
