"""Initial weights of networks, from ImageNet or from other networks."""
