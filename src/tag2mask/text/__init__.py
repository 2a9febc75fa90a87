"""Limits on text that is read from files, and escapes for text that is shown."""
