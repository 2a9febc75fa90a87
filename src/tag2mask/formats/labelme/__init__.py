"""LabelMe's JSON, one file beside each photo.

::

    {"version": "5.5.0", "flags": {"rain": true}, "imagePath": "a.jpg", "imageData": null,
     "imageWidth": 640, "imageHeight": 480,
     "shapes": [{"label": "dog", "shape_type": "polygon", "points": [[1, 2], [30, 2], [30, 40]]},
                {"label": "dog", "shape_type": "mask", "points": [[10, 20], [14, 22]],
                 "mask": "<PNG in base64>"}]}

The points of a mask are its first and last pixel. Flags that are true are image-level labels.
Format: https://github.com/wkentaro/labelme
"""
