"""From quality tables to decisions: policies, label noise, duplicates, subsets."""
