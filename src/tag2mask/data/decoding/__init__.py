"""Decoding of image files, photos and masks alike: formats, size limits, memory, orientation."""
