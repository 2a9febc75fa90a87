"""Photos and tags in: sources, samples, image, mask and map files, loaders.

Masks are read by evaluation only; nothing that trains imports a reader of them.
"""
