"""Sections of the page about a run, one function each.

A function takes the runs to compare, the main run first, and returns a section. Where it has
nothing to show, the section has no blocks and is left out of the page.
"""
