"""The kept images, written byte for byte in any of the formats."""
