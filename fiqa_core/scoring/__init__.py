"""From records to the rows of the quality table."""
