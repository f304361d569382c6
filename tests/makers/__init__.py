"""Makers of test data: images, hostile bytes, shards, real faces, stand-in checkpoints."""
