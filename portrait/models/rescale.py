"""Keeps a network's activations in the range of float16 without changing its outputs.

Phone GPUs compute in float16, whose largest number is 65,504. In a network without normalisation
layers, such as MattingNet, sums grow far beyond that during training.

Convolutions, PReLU, sums, concatenation and bilinear enlargement are positively homogeneous: for
s > 0,

    conv(s x; K, s b) = s conv(x; K, b)    prelu(s x) = s prelu(x)    s x + s y = s (x + y)

The tensors that such a layer joins form a group with one scale. A convolution from a group of scale
s to a group of scale t keeps its function with the kernel (t / s) K and the bias t b. The scale
stays 1 for channels that another kind of layer reads or writes, and for channels of the network's
input and outputs. In MattingNet, the convolutions before the sigmoids and the tanh therefore undo
the scale.

Scales are powers of two. Multiplication by a power of two is exact in floating point, so the
outputs stay equal bit by bit.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

TARGET = 256.0
"""The limit to which `rescale` reduces the largest activation that it measures."""

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
    """Measures the largest absolute activation of each layer on the pictures.

    The output of the depthwise part of a separable convolution counts as an activation of the
    layer.

    Args:
        model: a functional model with one input.
        pictures: (N, H, W, 3), 0..255, of the model's input size.

    Returns:
        The largest absolute activation by the layer's name, in the order of the layers, without the
        input layer.
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
    # One picture at a time, because a functional model keeps all tensors until it returns.
    for picture in pictures:
        found = probe(keras.ops.convert_to_tensor(picture[np.newaxis], "float32"), training=False)
        for name, values in found.items():
            largest[name] = max(largest[name], *(float(value) for value in values))
    return largest


def rescale(model: keras.Model, pictures: np.ndarray) -> None:
    """Changes the weights of `model` so that its activations become small and its outputs stay.

    Each group of tensors (see above) whose largest activation on the pictures is above `TARGET` is
    divided by the smallest power of two that brings it to `TARGET` or below. The divisor is at
    least that of the group before it, so that few kernels change. Activations on other pictures are
    up to three times as large as on a few, so they stay below 1,000 on pictures of the same kind.

    The weights stay unchanged if all activations are in range, if no group can be scaled, or if the
    network has more than one input, because such a network is not exported to phones. Channels with
    a fixed scale do not change, in range or not. In MattingNet, these are the few channels after
    its heads.

    Args:
        model: a network from `build.build`.
        pictures: (N, H, W, 3), 0..255, of the model's input size; a few typical pictures.
    """
    if len(model.inputs) > 1:
        return
    groups = _Groups(model)
    if not groups.scalable():
        return
    _apply(model, groups, _scales(model, groups, largest_activations(model, pictures)))


def balance(model: keras.Model, sizes: Mapping[str, float] | None = None) -> None:
    """Changes the weights of `model` so that it can be fine-tuned, and its outputs stay.

    The steps of Adam are as large as the learning rate, regardless of the size of a weight. They
    would destroy kernels that `rescale` has made small. If the kernel of a group's first
    convolution has a standard deviation below a quarter of He's (He et al., 1502.01852), or above
    four times He's, a power of two brings it close to He's.

    Args:
        model: a network from `build.build`.
        sizes: the `kernel_sizes` of other weights of the same network, to which powers of two bring
            these kernels, so that the scales of both are equal; None: He's.
    """
    groups = _Groups(model)
    scalable, scales = groups.scalable(), {}
    own = kernel_sizes(model)
    for layer in filter(_is_scalable, model.operations):
        group, before = groups.of(layer.output), scales.get(groups.of(layer.input), 1.0)
        if group in scalable and group not in scales:
            kernel = layer.get_weights()[_kernel_place(layer)]
            he = math.sqrt(2 * layer.output.shape[-1] / kernel.size)
            size, wanted = own[layer.name], sizes[layer.name] if sizes else he
            power = math.log2(wanted / size) if wanted and size else 0.0  # 0: as it is
            changes = sizes or abs(power) >= 2
            scales[group] = before * (2.0 ** round(power) if changes else 1.0)
    _apply(model, groups, scales)


def kernel_sizes(model: keras.Model) -> dict[str, float]:
    """The root mean square of the kernel of each convolution that `balance` may change, by name."""
    layers = filter(_is_scalable, model.operations)
    kernels = {each.name: each.get_weights()[_kernel_place(each)] for each in layers}
    return {name: math.sqrt(np.square(kernel).mean()) for name, kernel in kernels.items()}


@contextlib.contextmanager
def rescaled(model: keras.Model, pictures: np.ndarray) -> Iterator[None]:
    """Rescales `model` (see `rescale`) within the context, and restores its weights on exit."""
    weights = model.get_weights()
    rescale(model, pictures)
    try:
        yield
    finally:
        model.set_weights(weights)


class _Groups:
    """The groups of tensors that share a scale; each group has the id of one of its tensors."""

    def __init__(self, model: keras.Model):
        self._parents: dict[int, int] = {}
        self._fixed: dict[int, np.ndarray] = {}  # channels whose scale is 1, by tensor
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
        while any([self._spread(layer) for layer in joins]):  # a list: visits all layers
            pass

    def of(self, tensor: Any) -> int:
        """The group of a tensor."""
        return self._root(id(tensor))

    def fixed(self, tensor: Any) -> np.ndarray:
        """The channels of a tensor whose scale is 1: bool (C,)."""
        return self._fixed[id(tensor)]

    def scalable(self) -> set[int]:
        """The groups that have channels without a fixed scale."""
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
        """Fixes channels that the layer joins with fixed ones; returns whether any was new."""
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
        if isinstance(layer, keras.layers.SeparableConv2D):  # two scales
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
    """Whether the layer is a convolution whose weights may change; the first layer is frozen."""
    return isinstance(layer, _CONVOLUTIONS) and layer.trainable


def _kernel_place(layer: keras.layers.Layer) -> int:
    """The index of the kernel (the pointwise one, if separable) in the layer's weights."""
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
    """Changes a convolution so that it maps `given` times its input to `made` times its output.

    Args:
        layer: the convolution.
        given: the scale of each channel of its input, (channels,).
        made: the scale of each channel of its output, (channels,).
    """
    weights = layer.get_weights()
    place = _kernel_place(layer)
    ratios = made / given[:, np.newaxis]
    if isinstance(layer, keras.layers.Conv2DTranspose):  # its kernel is (h, w, out, in)
        ratios = ratios.T
    weights[place] = weights[place] * ratios
    if layer.use_bias:
        weights[-1] = weights[-1] * made
    layer.set_weights(weights)
