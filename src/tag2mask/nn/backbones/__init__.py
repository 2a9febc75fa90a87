"""Backbones: ResNet-38 and timm models that return intermediate feature maps."""
