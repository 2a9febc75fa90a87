"""Decoding of image files, both photos and masks: formats, size limits, memory, orientation."""
