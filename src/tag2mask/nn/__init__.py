"""Building blocks shared by all networks: backbones, weight files, convolutions and resizing.

Everything takes plain values and tensors. Nothing here imports recipes, data sets or run folders,
so each part can be used in other code.
"""
