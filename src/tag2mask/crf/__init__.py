"""Dense CRF (Krähenbühl & Koltun, NIPS 2011, https://arxiv.org/abs/1210.5644), without torch.

It sharpens score maps along the edges of the photo: for AffinityNet's labels, and optionally for
pseudo masks and predictions. It needs no C++ compiler; its loops are compiled by Numba.

- `tag2mask.crf.dense_crf`: the model, its settings and `DenseCrf`
- `tag2mask.crf.mean_field_update`: mean-field inference
- `tag2mask.crf.permutohedral`: Gaussian filters on the permutohedral lattice
- `tag2mask.crf.lattice_build`, `tag2mask.crf.lattice_filter`: the compiled loops of the lattice
"""
