"""PASCAL VOC: masks as palette PNGs, objects as XML, and CVAT's list of classes and colors.

::

    labelmap.txt                                  CVAT's: name:color:parts:actions
    ImageSets/Segmentation/train.txt              ids; CVAT's default.txt has photos without split
    SegmentationClass/<id>.png
    Annotations/<id>.xml
    JPEGImages/<id>.jpg

CVAT calls it "Segmentation mask 1.1" with masks, and "PASCAL VOC 1.1" with objects.
"""
