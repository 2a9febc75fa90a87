"""Layouts of annotation tools: which of their files a data folder has, read by `formats`."""
