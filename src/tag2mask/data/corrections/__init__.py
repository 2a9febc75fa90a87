"""Corrections: what a person said about photos, their tags and masks, in a folder of its own.

``decisions.jsonl`` has one line per decision, of which the last one of a photo counts;
``masks/<id>.png`` are the masks that were drawn or accepted; ``classes.json`` has the class names
that the masks were made with.
"""
