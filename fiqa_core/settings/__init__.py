"""Settings: declared once (default, check, text, option), read from YAML with file and line named in every error."""
