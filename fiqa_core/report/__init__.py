"""A report of one HTML file: what is in a quality table, what a policy removed, and faces to judge it by."""
