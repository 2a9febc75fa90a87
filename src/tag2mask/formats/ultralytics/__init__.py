"""Ultralytics: masks for semantic segmentation, and YOLO's polygons and boxes."""
