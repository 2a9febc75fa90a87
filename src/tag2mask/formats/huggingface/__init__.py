"""Hugging Face's ImageFolder: photos with metadata in one file per split.

::

    train/metadata.jsonl       {"file_name": "images/a.jpg", "mask_file_name": "masks/a.png"}
    train/images/a.jpg
    train/masks/a.png          8 bits of gray: 0 background, 1, 2, ... classes, 255 ignore
    classes.txt                the classes in the order of their numbers, background first

``datasets.load_dataset("imagefolder", data_dir=...)`` reads the columns ``image`` and ``mask``.

Format: https://huggingface.co/docs/datasets/image_dataset
"""
