"""Cleaning a dataset from its shards to the kept images by one recipe, a YAML file."""
