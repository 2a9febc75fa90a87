"""Layout ``coco``: COCO's JSON files, their items, and the masks drawn from them."""
