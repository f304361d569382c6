"""Output folders: what a run may find there, what it writes, how it is resumed."""
