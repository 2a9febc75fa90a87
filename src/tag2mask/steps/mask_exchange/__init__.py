"""Masks out of this package and into it: `tag2mask masks export`, `import` and `score`."""
