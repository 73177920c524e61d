"""Refine U-Net: a narrow U-Net, and a second stage that refines its alpha along the edges.

After the slides "Portrait Segmentation" (Y. Zhang, 2019): U-Net (Ronneberger et al., 1505.04597)
with few channels for phones, hybrid dilated convolutions (Wang et al., Understanding Convolution
for Semantic Segmentation, 1702.08502), and a second stage that refines the first alpha with the
picture and has an additional loss along the edges.
"""

import keras
from keras import ops

from portrait import losses
from portrait.models.layers import BatchNormalization, normalize

_WIDTHS = (16, 32, 64, 128)
# Dilation rates without a common divisor cover every pixel of the receptive field.
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
    """A sequence of 3x3 convolutions with these dilation rates.

    The receptive field is 1 + 2 sum(rates) pixels wide. If the rates have a common divisor r, only
    every r-th pixel contributes, and the output shows a grid ("gridding").
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
    """Builds Refine U-Net.

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
    """Trains the first stage, `coarse`, together with the second, `output`.

    Two terms are added to the compiled loss: 0.5 x (BCE + Dice) of the first alpha, and 0.5 x
    `EdgeLoss` of the second.
    """

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """As `keras.Model.compute_loss`, plus the two additional terms."""
        loss = super().compute_loss(x, y, _with_targets(y, y_pred), sample_weight, training)
        matte = ops.cast(y["output"], "float32")
        bands = ops.concatenate([matte, ops.cast(y["boundary_attention"], "float32")], axis=-1)
        first = losses.MatteLoss(losses.MATTE_WEIGHTS["bce_dice"])
        coarse = first(matte, y_pred["coarse"], sample_weight)
        edge = EdgeLoss()(bands, y_pred["output"], sample_weight)
        return loss + COARSE_WEIGHT * coarse + EDGE_WEIGHT * edge

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """As `keras.Model.compute_metrics`, without `coarse`."""
        return super().compute_metrics(x, y, _with_targets(y, y_pred), sample_weight)


def _with_targets(y: dict, y_pred: dict) -> dict:
    """The outputs that have targets; Keras accepts no others."""
    return {name: y_pred[name] for name in y}


class EdgeLoss(keras.losses.Loss):
    """The mean of `edge_cross_entropy` over pictures.

    Called with (matte, band) as channels, (N, H, W, 2), and the alpha (N, H, W, 1). As a `Loss`, it
    is divided by the number of devices, whose losses and gradients Keras adds.
    """

    def call(self, y_true, y_pred):
        return edge_cross_entropy(y_true[..., :1], y_pred, y_true[..., 1:])


def edge_cross_entropy(matte, alpha, band):
    """Binary cross-entropy of each picture, (N,), weighted by the band along the outline.

    sum(b H) / sum(b) over the pixels of the picture, H = -[y log p + (1 - y) log(1 - p)]; 0 if it
    has no outline. Over the pixels of a batch, it would depend on how devices divide the batch.

    Args:
        matte: the target y, (N, H, W, 1), 0..1.
        alpha: the prediction p, (N, H, W, 1), 0..1.
        band: the weight b, (N, H, W, 1), 0..1.
    """
    entropy = ops.binary_crossentropy(matte, ops.clip(alpha, losses.EPSILON, 1 - losses.EPSILON))
    band = ops.cast(band, "float32")
    total = ops.sum(band * entropy, axis=(1, 2, 3))
    return total / ops.maximum(ops.sum(band, axis=(1, 2, 3)), 1.0)
