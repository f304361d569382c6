"""Arrow files, as `save_to_disk` of Hugging Face's `datasets` writes them."""
