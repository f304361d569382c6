"""Images: decode, resize, preprocess."""
