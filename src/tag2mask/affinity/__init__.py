"""AffinityNet: affinities of neighboring cells, and the random walk that spreads CAMs along them.

Ahn and Kwak: "Learning Pixel-level Semantic Affinity with Image-level Supervision for Weakly
Supervised Semantic Segmentation", CVPR 2018 (https://arxiv.org/abs/1803.10464). Authors' code
("psa"): https://github.com/jiwoon-ahn/psa. SEAM uses it unchanged except for α and the
number of steps (``train_aff.py`` and ``infer_aff.py`` of https://github.com/YudeWang/SEAM).

The modules in the paper's order:

- `tag2mask.affinity.labels`: label maps from two dense CRFs (section 3.2)
- `tag2mask.affinity.marginals`: the marginals of both, which label cells as published
- `tag2mask.affinity.network`: the network and the affinity of a pair of cells (section 3.2)
- `tag2mask.affinity.pairs`: which cells form pairs (section 3.2)
- `tag2mask.affinity.pair_distance`: the distance of their features, and its gradient
- `tag2mask.affinity.dataset`: photos with their label maps as training batches (section 3.2)
- `tag2mask.affinity.loss`: the loss of the three kinds of pairs (section 3.2)
- `tag2mask.affinity.random_walk`: the random walk (section 3.3)
- `tag2mask.affinity.inference`: affinities of photos with a trained network (section 3.3)
- `tag2mask.affinity.attention`: the attention of a ViT in place of AffinityNet (CLIP-ES)
- `tag2mask.affinity.tuning`: the score of every setting of the walk in a grid (not in the paper)
"""
