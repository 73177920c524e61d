"""Keeps a network's activations in the range of float16 without changing its outputs.

Phones' GPUs compute in float16, whose largest number is 65,504. A network without normalisation
layers, such as MattingNet, learns sums that grow far beyond that.

Convolutions, PReLU, sums, concatenation and bilinear enlargement are positively homogeneous: for
s > 0,

    conv(s x; K, s b) = s conv(x; K, b)    prelu(s x) = s prelu(x)    s x + s y = s (x + y)

Tensors that such a layer joins form a group with one scale. A convolution from a group of scale s
to a group of scale t keeps its function with the kernel (t / s) K and the bias t b. Channels that
another kind of layer gives or takes, and those of the network's input and outputs, keep the scale
1: in MattingNet the convolutions before the sigmoids and the tanh divide the scale out.

Scales are powers of two. A product with one is exact in floating point, therefore the outputs do
not change in any bit.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

TARGET = 256.0
"""`rescale` brings the largest activation that it measures to at most this."""

# f(s x) = s f(x) for every s > 0.
_HOMOGENEOUS = (
    keras.layers.Add,
    keras.layers.Concatenate,
    keras.layers.PReLU,
    keras.layers.UpSampling2D,
)
_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.Conv2DTranspose, keras.layers.SeparableConv2D)
_HOMOGENEOUS_ACTIVATIONS = (keras.activations.linear, keras.activations.relu)


def largest_activations(model: keras.Model, pictures: np.ndarray) -> dict[str, float]:
    """The largest magnitude that each layer gives on any of the pictures.

    The depthwise part of a separable convolution counts as a part of the layer.

    Args:
        model: a functional model with one input.
        pictures: (N, H, W, 3), 0..255, of the model's size.

    Returns:
        The largest |activation| by the layer's name, in the order of the layers; without the input.
    """
    layers = [each for each in model.operations if not isinstance(each, keras.layers.InputLayer)]
    tensors = {each.name: keras.tree.flatten(each.output) for each in layers}
    for layer in layers:
        if isinstance(layer, keras.layers.SeparableConv2D):
            tensors[layer.name].append(_depthwise_part(layer))
    probe = keras.Model(
        model.input,
        {name: [keras.ops.max(keras.ops.abs(x)) for x in each] for name, each in tensors.items()},
    )
    largest = dict.fromkeys(tensors, 0.0)
    # One picture at a time: a functional model holds all of its tensors until it is done.
    for picture in pictures:
        found = probe(keras.ops.convert_to_tensor(picture[np.newaxis], "float32"), training=False)
        for name, values in found.items():
            largest[name] = max(largest[name], *(float(value) for value in values))
    return largest


def rescale(model: keras.Model, pictures: np.ndarray) -> None:
    """Changes the weights of `model` so that its activations stay small, its outputs the same.

    Each group of tensors (see above) whose largest activation on the pictures is above `TARGET` is
    divided by the smallest power of two that brings it there, and by no less than the group before
    it, so that few kernels change. Other pictures reach up to three times as much as a few do:
    activations stay below 1,000 on pictures of the same kind. A network in range, or without groups
    that can be scaled, keeps its weights. Channels whose scale is fixed stay as they are, in range
    or not; in MattingNet these are the few behind its heads. A network with more inputs than the
    picture is not for phones, and keeps its weights, too.

    Args:
        model: a network as `build.build` makes it.
        pictures: (N, H, W, 3), 0..255, of the model's size; a few typical ones.
    """
    if len(model.inputs) > 1:
        return
    groups = _Groups(model)
    if not groups.scalable():
        return
    _apply(model, groups, _scales(model, groups, largest_activations(model, pictures)))


def balance(model: keras.Model) -> None:
    """Changes the weights of `model` so that it can be trained on, its outputs the same.

    The steps of Adam are as large as the learning rate, whatever the size of a weight: they would
    destroy kernels that `rescale` has made small. Where the first convolution of a group has a
    kernel of less than a quarter of He's deviation, or more than four times that, a power of two
    brings it there (He et al., 1502.01852).
    """
    groups = _Groups(model)
    scalable, scales = groups.scalable(), {}
    for layer in filter(_is_scalable, model.operations):
        group, before = groups.of(layer.output), scales.get(groups.of(layer.input), 1.0)
        if group in scalable and group not in scales:
            kernel = layer.get_weights()[_kernel_place(layer)]
            wanted = math.sqrt(2 * layer.output.shape[-1] / kernel.size)
            power = math.log2(wanted / max(math.sqrt(np.square(kernel).mean()), 1e-30))
            scales[group] = before * (2.0 ** round(power) if abs(power) >= 2 else 1.0)
    _apply(model, groups, scales)


@contextlib.contextmanager
def rescaled(model: keras.Model, pictures: np.ndarray) -> Iterator[None]:
    """Rescales `model` (see `rescale`) for as long as the context is open."""
    weights = model.get_weights()
    rescale(model, pictures)
    try:
        yield
    finally:
        model.set_weights(weights)


class _Groups:
    """The groups of tensors that share a scale, numbered by one of their tensors."""

    def __init__(self, model: keras.Model):
        self._parents: dict[int, int] = {}
        self._fixed: dict[int, np.ndarray] = {}  # of each tensor, the channels that keep 1
        for layer in model.operations:
            tensors = [*_inputs(layer), *keras.tree.flatten(layer.output)]
            for tensor in tensors:
                self._fixed.setdefault(id(tensor), np.zeros(tensor.shape[-1], bool))
            if isinstance(layer, _HOMOGENEOUS):
                for tensor in tensors[1:]:
                    self._parents[self.of(tensor)] = self.of(tensors[0])
            elif not _is_scalable(layer):
                self._fix(tensors)
            elif layer.activation not in _HOMOGENEOUS_ACTIVATIONS:
                self._fix([layer.output])
        self._fix(model.outputs)
        joins = [each for each in model.operations if isinstance(each, _HOMOGENEOUS)]
        while any([self._spread(layer) for layer in joins]):  # a list, to spread in all of them
            pass

    def of(self, tensor: Any) -> int:
        """The group of a tensor."""
        return self._root(id(tensor))

    def fixed(self, tensor: Any) -> np.ndarray:
        """Which channels of a tensor keep the scale 1, (C,)."""
        return self._fixed[id(tensor)]

    def scalable(self) -> set[int]:
        """The groups with channels that are not fixed."""
        free = [number for number, fixed in self._fixed.items() if not fixed.all()]
        return set(map(self._root, free))

    def _root(self, number: int) -> int:
        while (parent := self._parents.setdefault(number, number)) != number:
            number = parent
        return number

    def _fix(self, tensors: Sequence[Any]) -> None:
        for tensor in tensors:
            self._fixed[id(tensor)][:] = True

    def _spread(self, layer: Any) -> bool:
        """Fixes the channels that the layer joins with fixed ones; whether there were any."""
        inputs = [self.fixed(x) for x in _inputs(layer)]
        output = self.fixed(layer.output)
        if isinstance(layer, keras.layers.Concatenate):
            parts = np.split(output, np.cumsum([len(x) for x in inputs])[:-1])  # views
            joined = list(zip(inputs, parts, strict=True))
        else:
            joined = [(*inputs, output)]
        before = sum(map(np.sum, [*inputs, output]))
        for tensors in joined:
            either = np.any(tensors, axis=0)
            for tensor in tensors:
                tensor[:] = either
        return sum(map(np.sum, [*inputs, output])) > before


def _scales(model: keras.Model, groups: _Groups, largest: dict[str, float]) -> dict[int, float]:
    """The scale of each group, from the largest activations of the layers."""
    scalable = groups.scalable()
    reached: dict[int, float] = {}
    for layer in model.operations:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        tensors = keras.tree.flatten(layer.output)
        if isinstance(layer, keras.layers.SeparableConv2D):  # its depthwise part has the input's
            tensors = [layer.input, layer.output]
        for group in map(groups.of, tensors):
            reached[group] = max(reached.get(group, TARGET), largest[layer.name])
    scales = {}
    for layer in filter(_is_scalable, model.operations):
        group, before = groups.of(layer.output), scales.get(groups.of(layer.input), 1.0)
        needed = 2.0 ** -math.ceil(math.log2(reached[group] / TARGET))
        if group in scalable:
            scales.setdefault(group, min(needed, before))
    return scales


def _apply(model: keras.Model, groups: _Groups, scales: dict[int, float]) -> None:
    for layer in filter(_is_scalable, model.operations):
        given, made = (
            np.where(groups.fixed(x), 1.0, scales.get(groups.of(x), 1.0)).astype(np.float32)
            for x in (layer.input, layer.output)
        )
        _scale(layer, given, made)


def _inputs(layer: Any) -> list:
    return [] if isinstance(layer, keras.layers.InputLayer) else keras.tree.flatten(layer.input)


def _is_scalable(layer: Any) -> bool:
    """Whether it is a convolution whose weights may change; the normalisation's are frozen."""
    return isinstance(layer, _CONVOLUTIONS) and layer.trainable


def _kernel_place(layer: keras.layers.Layer) -> int:
    """The place of the kernel among the weights; of a separable one, of its pointwise part."""
    return 1 if isinstance(layer, keras.layers.SeparableConv2D) else 0


def _depthwise_part(layer: keras.layers.SeparableConv2D) -> Any:
    depthwise = keras.layers.DepthwiseConv2D(
        layer.kernel_size,
        strides=layer.strides,
        padding=layer.padding,
        dilation_rate=layer.dilation_rate,
        use_bias=False,
        dtype=layer.dtype_policy,
    )
    output = depthwise(layer.input)
    depthwise.set_weights(layer.get_weights()[:1])
    return output


def _scale(layer: keras.layers.Layer, given: np.ndarray, made: np.ndarray) -> None:
    """Has a convolution give `made` times its output from `given` times its input.

    Args:
        layer: the convolution.
        given: the scale of each channel of its input, (channels,).
        made: the same of its output.
    """
    weights = layer.get_weights()
    place = _kernel_place(layer)
    ratios = made / given[:, np.newaxis]
    if isinstance(layer, keras.layers.Conv2DTranspose):  # whose kernel is (h, w, out, in)
        ratios = ratios.T
    weights[place] = weights[place] * ratios
    if layer.use_bias:
        weights[-1] = weights[-1] * made
    layer.set_weights(weights)
