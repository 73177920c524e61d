"""Refine U-Net: a narrow U-Net, and a second stage that refines its alpha along the edges.

After the slides "Portrait Segmentation" (Y. Zhang, 2019): U-Net (Ronneberger et al., 1505.04597)
with few channels for phones, hybrid dilated convolutions (Wang et al., Understanding Convolution
for Semantic Segmentation, 1702.08502), and a refinement stage on the first alpha and the picture,
with a loss of its own that looks at the edges.
"""

import keras
from keras import ops

from portrait import losses
from portrait.models.layers import BatchNormalization, normalize

_WIDTHS = (16, 32, 64, 128)
# Dilations without a common divisor: between them, every pixel in reach is seen.
HYBRID = (1, 2, 3)
COARSE_WEIGHT, EDGE_WEIGHT = 0.5, 0.5


def _conv(x, filters: int, dilation: int = 1):
    x = keras.layers.Conv2D(
        filters,
        3,
        padding="same",
        dilation_rate=dilation,
        use_bias=False,
        kernel_initializer="he_normal",
    )(x)
    return keras.layers.ReLU()(BatchNormalization(momentum=0.9)(x))


def dilated(x, filters: int, rates: tuple[int, ...] = HYBRID):
    """3x3 convolutions, one after the other, with these dilations.

    They see 1 + 2 sum(rates) pixels across. With a common divisor r of the rates only every r-th
    of these counts, which leaves a grid in the output ("gridding").
    """
    for rate in rates:
        x = _conv(x, filters, rate)
    return x


def _first_stage(x):
    """U-Net with dilated convolutions at its bottom; (N, H, W, 16)."""
    skips = []
    for filters in _WIDTHS:
        x = _conv(_conv(x, filters), filters)
        skips.append(x)
        x = keras.layers.MaxPooling2D(2)(x)
    x = dilated(x, _WIDTHS[-1])
    for filters, skip in zip(reversed(_WIDTHS), reversed(skips), strict=True):
        x = keras.layers.UpSampling2D(2, interpolation="bilinear")(_conv(x, filters))
        x = _conv(keras.layers.Concatenate()([x, skip]), filters)
    return x


def _score(x, name: str):
    return keras.layers.Conv2D(1, 1, activation="sigmoid", dtype="float32", name=name)(x)


def build(input_shape: tuple[int, int] = (256, 192)) -> keras.Model:
    """Refine U-Net.

    Args:
        input_shape: (height, width), multiples of 16.

    Returns:
        A model from raw RGB (N, H, W, 3) in 0..255 to a dict of maps (N, H, W, 1) in 0..1:
        `output`, the alpha; `boundary_attention`, the band along the outline; and `coarse`, the
        alpha of the first stage.
    """
    image = keras.Input((*input_shape, 3), name="image")
    pixels = normalize(image)
    coarse = _score(_first_stage(pixels), "coarse")
    x = dilated(keras.layers.Concatenate()([pixels, coarse]), _WIDTHS[0])
    outputs = {
        "output": _score(x, "output"),
        "boundary_attention": _score(x, "boundary_attention"),
        "coarse": coarse,
    }
    return TwoStages(image, outputs, name="refine_unet")


@keras.saving.register_keras_serializable("portrait_segmentation")
class TwoStages(keras.Model):
    """A network whose first stage, `coarse`, learns together with the second, `output`.

    To the loss that it is compiled with come 0.5 x the matte's BCE + Dice on the first alpha, and
    0.5 x `edge_cross_entropy` on the second.
    """

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """As `keras.Model.compute_loss`, with the two further terms."""
        loss = super().compute_loss(x, y, _with_targets(y, y_pred), sample_weight, training)
        matte = ops.cast(y["output"], "float32")
        coarse = losses.MatteLoss(losses.MATTE_WEIGHTS["bce_dice"])(matte, y_pred["coarse"])
        edge = edge_cross_entropy(matte, y_pred["output"], y["boundary_attention"])
        return loss + COARSE_WEIGHT * coarse + EDGE_WEIGHT * edge

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """As `keras.Model.compute_metrics`, without `coarse`."""
        return super().compute_metrics(x, y, _with_targets(y, y_pred), sample_weight)


def _with_targets(y: dict, y_pred: dict) -> dict:
    """The outputs that the data have targets for: Keras wants no others."""
    return {name: y_pred[name] for name in y}


def edge_cross_entropy(matte, alpha, band):
    """Cross-entropy where it is hard: the mean over a batch's pixels, weighted by the band.

    sum(b H) / sum(b), H = -[y log p + (1 - y) log(1 - p)]; 0 in a batch without outlines.

    Args:
        matte: y, (N, H, W, 1), 0..1.
        alpha: p, the same.
        band: b, the band along the outline, the same.
    """
    entropy = ops.binary_crossentropy(matte, ops.clip(alpha, losses.EPSILON, 1 - losses.EPSILON))
    band = ops.cast(band, "float32")
    return ops.sum(band * entropy) / ops.maximum(ops.sum(band), 1.0)
