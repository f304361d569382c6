"""Parquet files with image bytes."""
