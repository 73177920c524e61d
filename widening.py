"""Starts a wide network from a narrow one, so that it gives the same and has more to learn with.

Net2Net (Chen, Goodfellow and Shlens, 1511.05641), with random new channels in place of copies:
what is computed from old channels takes nothing from new ones at first. So may layers be new that
add nothing at first.
"""

import keras


def widen(narrow: keras.Model, wide: keras.Model) -> None:
    """Fills `wide` with the weights of `narrow`; new channels stay as they are.

    Args:
        narrow: a network of convolutions, depthwise convolutions, batch normalisations, and sums
            and products of maps.
        wide: the same layers by the same names, with as many channels or more; its other layers
            stay as they are.
    """
    old_layers = {layer.name: layer for layer in narrow.layers}
    for layer in wide.layers:
        arrays = layer.get_weights()
        if not arrays or layer.name not in old_layers:
            continue
        for ours, theirs in zip(arrays, old_layers[layer.name].get_weights(), strict=True):
            old = tuple(slice(count) for count in theirs.shape)
            if type(layer) is keras.layers.Conv2D and ours.ndim == 4:
                ours[..., old[3]] = 0.0
            ours[old] = theirs
        layer.set_weights(arrays)
