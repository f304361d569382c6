"""Lists of image files: a path a line, or a CSV file with a column of paths."""
