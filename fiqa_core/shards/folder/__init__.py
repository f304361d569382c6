"""Image folders."""
