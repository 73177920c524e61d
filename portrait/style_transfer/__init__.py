"""Paints photographs in the style of a painting: a fast network, and Gatys' optimisation.

`transform_net` is the network. `training` trains it on `crops` of photographs with the losses of
`perceptual`. `painter` and `video` apply it, `full_size` paints pictures small and enlarges them,
`steady` keeps videos from flickering, and `export` writes it for phones. `gatys` changes the pixels
of a picture instead. Both compare activations of VGG16 (`vgg`).
"""

from portrait.models.weights import SHIPPED

PAINTINGS = SHIPPED / "style" / "paintings"
"""The folder of the shipped network."""
