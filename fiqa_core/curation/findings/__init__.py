"""What a search of the whole dataset finds: label noise and near duplicates."""
