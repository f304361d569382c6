"""Measurements against the limit, each as a ratio in one run; by hand, never as a test."""
