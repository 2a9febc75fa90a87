"""Segmentation networks: training on pseudo masks, labeling photos, and export.

``networks`` builds them (DeepLab v1 as in the paper, or any decoder of
segmentation-models-pytorch); ``dataset``, ``labels`` and ``losses`` are for training;
``inference`` labels photos of any size; ``export`` writes ONNX and torch.export files.
"""
