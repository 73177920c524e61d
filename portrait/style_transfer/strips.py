"""Applies the transform network to pictures of any size, strip by strip.

A picture cannot be painted in independent tiles, because each tile would be normalised by its own
statistics, and seams would show. Here, every layer is computed for one strip of rows after the
other, and normalised by the mean and variance of all rows. The result is the same as for the whole
picture at once. Feature maps at full size are not kept. They are computed again when the next layer
needs them. The largest maps in memory have half the size of the picture: 64 bytes for each pixel of
the picture with the big network, 32 bytes with the small one.
"""

import keras
import numpy as np

from portrait.style_transfer.transform_net import EPSILON, RESIDUAL_BLOCKS


def paint(network: keras.Model, picture: np.ndarray, strip: int = 400_000) -> np.ndarray:
    """Paints a picture.

    Args:
        network: the network of one style, from `transform_net.fix_style`.
        picture: (H, W, 3) RGB in 0..255; H and W are multiples of `transform_net.STRIDE`.
        strip: the approximate number of pixels of a feature map that are computed at once.

    Returns:
        float32 (H, W, 3), 0..255. It equals `network` applied to the whole picture, except for
        rounding.
    """
    x = _Normalised(network, 1, _Picture(network.get_layer("normalize"), picture, strip))
    x = _Normalised(network, 2, x, stride=2).keep()
    x = _Normalised(network, 3, x, stride=2).keep()
    for block in range(RESIDUAL_BLOCKS):
        inner = _Normalised(network, 4 + 2 * block, x).keep()
        branch = _Normalised(network, 5 + 2 * block, inner, relu=False)
        x = _Sum(x, branch).keep()
    count = 4 + 2 * RESIDUAL_BLOCKS
    x = _Normalised(network, count, _Doubled(x)).keep()
    x = _Normalised(network, count + 1, _Doubled(x))
    layer = network.get_layer("paint")
    return _Painted(layer, x).keep().rows(0, len(picture))


class _Map:
    """A feature map (height, width, channels) that computes its rows on demand."""

    def __init__(self, shape: tuple[int, int], strip: int):
        self.shape, self.strip = shape, strip
        self._kept = None

    def rows(self, top: int, bottom: int) -> np.ndarray:
        """Rows `top` to `bottom`, float32 (rows, width, channels)."""
        return self._compute(top, bottom) if self._kept is None else self._kept[top:bottom]

    def keep(self) -> "_Map":
        """Computes and stores all rows, and releases the maps that they are computed from."""
        kept = None
        for top, bottom in self._strips():
            part = self._compute(top, bottom)
            if kept is None:
                kept = np.empty((*self.shape, part.shape[-1]), np.float32)
            kept[top:bottom] = part
        self._kept = kept
        self._forget()
        return self

    def _compute(self, top: int, bottom: int) -> np.ndarray:
        raise NotImplementedError

    def _forget(self) -> None:
        self.source = None

    def _strips(self):
        height, width = self.shape
        rows = max(16, self.strip // width)
        return ((top, min(top + rows, height)) for top in range(0, height, rows))


class _Picture(_Map):
    def __init__(self, normalize: keras.layers.Layer, picture: np.ndarray, strip: int):
        super().__init__(picture.shape[:2], strip)
        self._normalize, self._picture = normalize, picture

    def _compute(self, top, bottom):
        rows = np.float32(self._picture[None, top:bottom])
        return keras.ops.convert_to_numpy(self._normalize(rows))[0]


class _Convolved(_Map):
    """A convolution with mirrored borders."""

    def __init__(self, layer: keras.layers.Conv2D, source: _Map, stride: int = 1):
        height, width = source.shape
        super().__init__((height // stride, width // stride), source.strip)
        self.source = source
        self._kernel, self._stride = layer.kernel, stride

    def _convolve(self, top: int, bottom: int):
        size = self._kernel.shape[0]
        margin, height = size // 2, self.source.shape[0]
        first = top * self._stride - margin
        last = (bottom - 1) * self._stride - margin + size
        rows = self.source.rows(max(first, 0), min(last, height))
        above, below = max(-first, 0), max(last - height, 0)
        rows = np.pad(rows, ((above, below), (margin, margin), (0, 0)), "reflect")
        return keras.ops.conv(rows[None], self._kernel, self._stride, "valid")


class _Normalised(_Convolved):
    """A convolution, instance normalisation over all rows, scale, shift, and optionally ReLU."""

    def __init__(self, network, number: int, source: _Map, stride: int = 1, relu: bool = True):
        super().__init__(network.get_layer(f"conv_{number}"), source, stride)
        scale, shift = network.get_layer(f"affine_{number}").get_weights()
        self._relu = relu
        mean, variance = self._statistics()
        self._scale = np.float32(scale[0, 0, :, 0] / np.sqrt(variance + EPSILON))
        self._shift = np.float32(shift - mean * self._scale)

    def _statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of each channel, combined over strips (Chan et al., 1983)."""
        count, mean, squares = 0, 0.0, 0.0
        for top, bottom in self._strips():
            moments = keras.ops.moments(self._convolve(top, bottom), axes=(0, 1, 2))
            strip_mean, strip_variance = (
                np.float64(keras.ops.convert_to_numpy(each)) for each in moments
            )
            more = (bottom - top) * self.shape[1]
            apart = strip_mean - mean
            squares += strip_variance * more + apart**2 * count * more / (count + more)
            mean += apart * more / (count + more)
            count += more
        return mean, squares / count

    def _compute(self, top, bottom):
        x = self._convolve(top, bottom) * self._scale + self._shift
        return keras.ops.convert_to_numpy(keras.ops.relu(x) if self._relu else x)[0]


class _Painted(_Convolved):
    """The last convolution, which returns colours."""

    def __init__(self, layer: keras.layers.Conv2D, source: _Map):
        super().__init__(layer, source)
        self._bias = layer.bias

    def _compute(self, top, bottom):
        x = keras.ops.sigmoid(self._convolve(top, bottom) + self._bias)
        return keras.ops.convert_to_numpy(x)[0] * np.float32(255)


class _Doubled(_Map):
    """A map enlarged to twice its height and width by bilinear interpolation."""

    def __init__(self, source: _Map):
        super().__init__((2 * source.shape[0], 2 * source.shape[1]), source.strip)
        self.source = source

    def _compute(self, top, bottom):
        first, last = max(top // 2 - 1, 0), min((bottom + 1) // 2 + 1, self.source.shape[0])
        rows = self.source.rows(first, last)
        size = (2 * len(rows), self.shape[1])
        doubled = keras.ops.image.resize(rows[None], size, "bilinear")[0]
        return keras.ops.convert_to_numpy(doubled[top - 2 * first : bottom - 2 * first])


class _Sum(_Map):
    def __init__(self, *sources: _Map):
        super().__init__(sources[0].shape, sources[0].strip)
        self.sources = sources

    def _compute(self, top, bottom):
        return sum(source.rows(top, bottom) for source in self.sources)

    def _forget(self):
        self.sources = ()
