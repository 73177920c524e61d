"""Fast-SCNN (Poudel, Liwicki, Cipolla: "Fast Semantic Segmentation Network", 1902.04502).

A stem of three strided convolutions is shared by a deep branch at 1/32 and a shallow one at 1/8,
which are fused at 1/8. Here it ends in one alpha instead of classes, with a boundary head.
"""

import types

import keras

from portrait.models.layers import batch_normalization, normalize


class _Blocks:
    """The paper's pieces in one framework (keras or tf_keras).

    But for two: separable convolutions have a ReLU between their halves, as MobileNet's, and the
    fusion's depthwise convolution is not dilated.
    """

    def __init__(self, framework: types.ModuleType):
        self.layers = framework.layers
        self.batch_norm = batch_normalization(framework)

    def norm_relu(self, x, relu: bool = True):
        # Keras's momentum of 0.99 would need a thousand steps to forget its start.
        x = self.batch_norm(momentum=0.9)(x)
        return self.layers.ReLU()(x) if relu else x

    def conv(self, x, channels: int, kernel: int = 1, stride: int = 1, relu: bool = True):
        x = self.layers.Conv2D(
            channels,
            kernel,
            strides=stride,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
        )(x)
        return self.norm_relu(x, relu)

    def depthwise(self, x, stride: int = 1):
        x = self.layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(x)
        return self.norm_relu(x)

    def separable(self, x, channels: int, stride: int = 1):
        return self.conv(self.depthwise(x, stride), channels)

    def bottleneck(self, x, channels: int, stride: int, count: int, expansion: int = 6):
        """MobileNet-V2's inverted residuals; the first one of `count` carries the stride."""
        for index in range(count):
            stride_here = stride if index == 0 else 1
            branch = self.conv(x, x.shape[-1] * expansion)
            branch = self.depthwise(branch, stride_here)
            branch = self.conv(branch, channels, relu=False)
            keeps_shape = stride_here == 1 and x.shape[-1] == channels
            x = self.layers.Add()([x, branch]) if keeps_shape else branch
        return x

    def pyramid(self, x, channels: int, bins: tuple[int, ...] = (1, 2, 3, 6)):
        """Pyramid pooling (Zhao et al., PSPNet) into about `bins` x `bins` cells.

        Each axis takes the largest number of cells up to the wanted one that divides it, so that
        every cell has the same size: whole pools and whole upsampling factors, which phone
        delegates and quantisation tools take.
        """
        height, width = x.shape[1:3]
        branches = [x]
        for wanted in bins:
            cell = tuple(
                side // max(n for n in range(1, min(wanted, side) + 1) if side % n == 0)
                for side in (height, width)
            )
            pooled = self.layers.AveragePooling2D(cell)(x)
            pooled = self.conv(pooled, channels // len(bins))
            branches.append(self.up(pooled, cell))
        return self.conv(self.layers.Concatenate()(branches), channels)

    def up(self, x, factor: int | tuple[int, int]):
        return self.layers.UpSampling2D(factor, interpolation="bilinear")(x)


def build(input_shape: tuple[int, int] = (256, 192), framework: types.ModuleType = keras):
    """Fast-SCNN with one alpha and a boundary head.

    Args:
        input_shape: (height, width), multiples of 32.
        framework: `keras`, or `tf_keras` for tools that know only the older Keras.

    Returns:
        A model from raw RGB (N, H, W, 3) in 0..255 to a dict: `output`, the alpha (N, H, W, 1) in
        0..1, and `boundary_attention`, the band along the outline (N, H, W, 1) in 0..1.
    """
    blocks = _Blocks(framework)
    layers = framework.layers
    image = framework.Input((*input_shape, 3), name="image")

    # Learning to downsample: 1/8.
    x = blocks.conv(normalize(image, framework), 32, kernel=3, stride=2)
    x = blocks.separable(x, 48, stride=2)
    shallow = blocks.separable(x, 64, stride=2)

    # Global feature extractor: 1/32.
    x = blocks.bottleneck(shallow, 64, stride=2, count=3)
    x = blocks.bottleneck(x, 96, stride=2, count=3)
    x = blocks.bottleneck(x, 128, stride=1, count=3)
    x = blocks.pyramid(x, 128)

    # Feature fusion: 1/8.
    x = blocks.conv(blocks.depthwise(blocks.up(x, 4)), 128, relu=False)
    x = layers.Add()([x, blocks.conv(shallow, 128, relu=False)])
    x = layers.ReLU()(x)

    # Heads: the boundary's logits are one of the maps that the matte is made from.
    x = blocks.separable(blocks.separable(x, 128), 128)
    edge = layers.Conv2D(1, 1, name="boundary_logits")(x)
    boundary = layers.Activation("sigmoid", dtype="float32", name="boundary_attention")(
        blocks.up(edge, 8)
    )
    x = layers.Concatenate()([blocks.conv(x, 15), edge])
    x = blocks.up(x, 8)
    alpha = layers.SeparableConv2D(
        1, 3, padding="same", activation="sigmoid", dtype="float32", name="output"
    )(x)
    return framework.Model(
        image, {"output": alpha, "boundary_attention": boundary}, name="fast_scnn"
    )
