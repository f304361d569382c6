"""The atlas: a map of the embeddings as one Parquet file that other programs show."""
