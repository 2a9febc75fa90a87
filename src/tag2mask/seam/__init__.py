"""SEAM: class activation maps that are equivariant to affine transforms of the image.

Wang, Zhang, Kan, Shan, Chen: "Self-supervised Equivariant Attention Mechanism for Weakly Supervised
Semantic Segmentation", CVPR 2020 (https://arxiv.org/abs/2004.04581). Authors' code:
https://github.com/YudeWang/SEAM.

The modules in the paper's order:

- `tag2mask.seam.network`: backbone, CAM head and PCM as one network (section 3, figure 2)
- `tag2mask.seam.model`: its architecture as plain values, and its files
- `tag2mask.seam.cam_head`: the CAM head (section 3; Zhou et al., CVPR 2016)
- `tag2mask.seam.transform`: the affine transform A (section 3.2)
- `tag2mask.seam.pcm`: the pixel correlation module, PCM (section 3.3)
- `tag2mask.seam.losses`: classification, ER (section 3.2), ECR (section 3.4) and min-pooling
- `tag2mask.seam.objective`: the Siamese loss of both branches (section 3.4)
- `tag2mask.seam.multi_scale_inference`: maps of photos (section 4)
- `tag2mask.seam.scaled_views`: the scaled and mirrored views that it needs
- `tag2mask.seam.tiled_maps`: maps of large views in overlapping tiles (not in the paper)
- `tag2mask.seam.map_sums`: the sum over the views, and its scaling to [0, 1]
- `tag2mask.seam.mdc`: multi-dilated convolutions, a head that SEAM is compared with
- `tag2mask.seam.head_starts`: several starts of a head on frozen features (not in the paper)
- `tag2mask.seam.attention`: CAMs spread along the attention of a ViT (CLIP-ES)
- `tag2mask.seam.parts`: a user's own classes in place of PCM and views, and further losses
"""
