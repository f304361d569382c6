"""What the commands run: tables, findings, subsets."""
