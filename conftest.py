"""Makes the repository root importable, so that tests can share makers."""
