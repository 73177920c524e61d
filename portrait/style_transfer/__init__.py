"""Paints photographs in the style of a painting: a fast network, and Gatys' optimisation.

`transform_net` is the network; `training` trains it on `crops` of photographs with the losses of
`perceptual`. `gatys` changes a picture's pixels instead. Both look through `vgg`. `painter` paints
photographs and, with `video`, videos with a trained network, and `export` exports it.
"""

from portrait.models.weights import SHIPPED

PAINTINGS = SHIPPED / "style" / "paintings"
"""The folder of the shipped network."""
