"""Zip archives of images."""
