"""Metrics of label maps and of tag classifiers, without torch.

All counts are sums over photos, so that they can be merged over processes; the scores are computed
from the sums. Mask ids are 0 for the background, 1..C for the classes and 255 for void.

- `tag2mask.metrics.confusion`: the confusion matrix; IoU and mIoU of PASCAL VOC, precision, recall
- `tag2mask.metrics.threshold_curve`: mIoU at every background threshold in one pass
- `tag2mask.metrics.boundary_iou`: boundary IoU (Cheng et al., CVPR 2021)
- `tag2mask.metrics.bootstrap`: 95 % intervals of scores, differences and rates
- `tag2mask.metrics.tag_scores`: average precision and F1 of tags, and tags that may be wrong
- `tag2mask.metrics.class_rule`: when a photo is decided to show a class
- `tag2mask.metrics.quality`: a score of a photo's masks, without ground truth
"""
