"""COCO's JSON: photos, categories and outlines; read as a stream, written photo by photo."""
