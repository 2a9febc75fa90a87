"""The training loop shared by all networks: data order, augmentation, optimizer, log, checkpoints.

``loop.fit`` trains any module that returns loss terms; ``dataset`` has the batches of photos and
tags. `SkippedPhotos` records unreadable photos.
"""
