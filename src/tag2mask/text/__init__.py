"""Limits on text that is read from files, escapes for text that is shown, letters of names."""
