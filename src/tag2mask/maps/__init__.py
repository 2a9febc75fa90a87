"""Class activation maps of photos: their files, and the background threshold that labels need.

- `tag2mask.maps.cam_map`: `CamMap`, the maps of one photo, and its ``.npz`` file
- `tag2mask.maps.npz_arrays`: such files as checked before memory is used
- `tag2mask.maps.mapped_photos`: the photos of a data folder that have maps
- `tag2mask.maps.background_threshold`: the threshold, the background map (1 - max)^α, label masks,
  and Otsu's estimate
- `tag2mask.maps.threshold_sources`: the threshold of a set of photos, calibrated on a few masks or
  estimated from all maps
- `tag2mask.maps.tiles`: the tiles of large photos, and blending them into one map
"""
