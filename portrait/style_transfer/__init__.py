"""Paints photographs in the style of a painting: a fast network, and Gatys' optimisation.

`transform_net` is the network, `training` trains it on `photos` with the losses of `perceptual`;
`gatys` changes a picture's pixels instead. Both look through `vgg`. `apply` paints photographs and
videos with a trained network, and `phones` exports it.
"""
