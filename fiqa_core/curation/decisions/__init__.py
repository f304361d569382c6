"""From quality tables to decisions: policies, rules, duplicates, and the files they are written to."""
