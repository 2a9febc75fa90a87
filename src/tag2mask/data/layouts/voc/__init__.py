"""The layout of Pascal VOC: lists of photos, tags from XML or a table, and their masks."""
