"""Backbones: ResNet-38 and any timm model that returns intermediate feature maps."""
