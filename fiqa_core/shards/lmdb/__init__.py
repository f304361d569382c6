"""LMDB: ViT-FIQA's own training container, and databases of keys and image bytes."""
