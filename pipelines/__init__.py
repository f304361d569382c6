"""Command lines: parse, wire, run, report."""
