"""Segmentation networks: training on pseudo masks, labeling photos, and export.

- `tag2mask.segmentation.networks`: networks by name, and their files
- `tag2mask.segmentation.deeplab_v1`: DeepLab v1 on ResNet-38, as in the paper
- `tag2mask.segmentation.encoder_decoder`: decoders of segmentation-models-pytorch on timm encoders
- `tag2mask.segmentation.encoder_weights`: weights of timm models for their encoders
- `tag2mask.segmentation.labels`: label maps for training and validation
- `tag2mask.segmentation.dataset`: photos with their label maps as training batches
- `tag2mask.segmentation.losses`: the losses
- `tag2mask.segmentation.torch_segmenter`: a network of torch as a `Segmenter`
- `tag2mask.segmentation.loading`: a trained network by path
- `tag2mask.segmentation.inference`: labels of photos of any size, without torch
- `tag2mask.segmentation.export`: ONNX and torch.export files
- `tag2mask.segmentation.standalone`: the program that an export has beside its network
"""
