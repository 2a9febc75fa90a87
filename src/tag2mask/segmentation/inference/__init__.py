"""Label photos with a trained segmentation network; nothing here imports torch.

Views and tiles in, averaged probabilities and label maps out. A network is anything that implements
`Segmenter`; `OnnxSegmenter` is one, the one of torch is in ``segmentation.torch_segmenter``.
"""
