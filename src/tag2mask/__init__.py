"""tag2mask: segmentation masks from image-level tags (SEAM, CVPR 2020, end to end)."""

__version__ = "0.1.0"
