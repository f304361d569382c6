"""Command lines: options, exit codes, logging, reports. No Beam, no torch."""
