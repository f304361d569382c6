"""Columns, reason codes, provenance keys and versions: what the tables mean, and no logic."""
