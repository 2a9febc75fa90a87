"""Masks as pixels in files: gray and palette images, run lengths, polygons, connected parts."""
