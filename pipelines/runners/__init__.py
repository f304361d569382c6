"""Beam's runners: their options, their workers, their progress."""
