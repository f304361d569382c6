"""Wrong labels, split and merged identities, judged by the centres of identities."""
