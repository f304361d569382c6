"""Beam transforms: thin, composed from `fiqa_core`."""
