"""Dataset formats: how shards are cut into units and read as records."""
