"""Experiments on small objects: settings by rows, features of several levels, several starts."""
