"""PortraitFCN, which is FCN-8s (Long et al., 1411.4038), and PortraitFCN+ (Shen et al., 2016).

PortraitFCN+ ("Automatic Portrait Segmentation for Image Stylization") is the same network with
three more input channels: the pixel's x and y in the face's frame, and the mean portrait's alpha,
aligned with the face.
"""

import logging

import keras
from keras import ops

from portrait.models import vgg16
from portrait.models.baselines.faces import FRAME, GRID, PER_UNIT, WithFaces, find_faces, mean_shape
from portrait.models.baselines.heads import two_maps, upscore

log = logging.getLogger(__name__)

# The authors keep VGG16's classifier of 4096 channels. The weights used here end before it, and
# 119 M parameters with random values learn nothing from a thousand portraits.
_WIDTH = 512
# Scales pool4 (mean 50) and pool3 (mean 340) to the range of the scores, as the authors' FCN-8s
# "at once" does. Without it the shallow layers dominate the first steps of training.
_SCALES = {4: 1e-2, 3: 1e-3}


def _score(x, name: str):
    """The score maps of the person and of the outline; they start as zeros."""
    return keras.layers.Conv2D(2, 1, kernel_initializer="zeros", name=name)(x)


def _fcn_8s(x):
    """From the normalised picture to the score maps at full size."""
    pooled = {}
    for number in range(1, 6):
        x = keras.layers.MaxPooling2D(2, name=f"pool{number}")(vgg16.block(x, number))
        pooled[number] = x
    for name, kernel in ("fc6", 7), ("fc7", 1):
        x = keras.layers.Conv2D(
            _WIDTH,
            kernel,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            name=name,
        )(x)
        x = keras.layers.Dropout(0.5)(x)
    x = _score(x, "score_fr")
    for number, scale in _SCALES.items():
        skip = _score(keras.layers.Rescaling(scale)(pooled[number]), f"score_pool{number}")
        x = keras.layers.Add()([upscore(x, 2), skip])
    return upscore(x, 8, trainable=False)


def build(input_shape: tuple[int, int] = (256, 192)) -> keras.Model:
    """Builds PortraitFCN: FCN-8s with scores for the person and for the outline.

    The scores of pool3, pool4 and the last layer are summed. The transposed convolutions start as
    bilinear interpolation, and the last one is not trained. `vgg16.load_into` fills blocks 1 to 5.

    Args:
        input_shape: (height, width), multiples of 32.

    Returns:
        A model from raw RGB (N, H, W, 3) in 0..255 to a dict: `output`, the alpha (N, H, W, 1) in
        0..1, and `boundary_attention`, the band along the outline (N, H, W, 1) in 0..1.
    """
    image = keras.Input((*input_shape, 3), name="image")
    scores = _fcn_8s(vgg16.normalize(image))
    return keras.Model(image, two_maps(scores), name="portrait_fcn")


def build_plus(input_shape: tuple[int, int] = (256, 192)) -> keras.Model:
    """Builds PortraitFCN+: PortraitFCN with the maps of `FaceFrame` as additional input.

    Args:
        input_shape: (height, width), multiples of 32.

    Returns:
        A model with the outputs of `build` and a dict of inputs: `image`, raw RGB (N, H, W, 3) in
        0..255, and `face`, the face's box (N, 4), see `faces.py`. `fit` and `predict_on_batch`
        take pictures only and find the faces themselves.
    """
    inputs = {
        "image": keras.Input((*input_shape, 3), name="image"),
        "face": keras.Input((4,), name="face"),
    }
    frame = FaceFrame(input_shape, name="face_frame")(inputs["face"])
    x = keras.layers.Concatenate()([vgg16.normalize(inputs["image"]), frame])
    return PortraitFCNPlus(inputs, two_maps(_fcn_8s(x)), name="portrait_fcn_plus")


@keras.saving.register_keras_serializable("portrait_segmentation")
class FaceFrame(keras.layers.Layer):
    """From faces' boxes (N, 4) to maps (N, H, W, 3): x and y in the face's frame, mean portrait.

    The mean portrait is a non-trainable weight, so checkpoints contain it. The maps are scaled to
    about the range of VGG16's input: one face width or height is 50, the portrait is -100..100.

    Args:
        input_shape: (H, W).
    """

    def __init__(self, input_shape: tuple[int, int], **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32", "trainable": False}))
        self.size = tuple(input_shape)
        self.mean_shape = self.add_weight(shape=GRID, initializer="zeros", name="mean_shape")

    def call(self, boxes):
        left, top, width, height = ops.split(boxes, 4, axis=-1)
        places, weights = [], []
        for axis, (start, extent) in enumerate(((top, height), (left, width))):
            low, high = FRAME[axis]
            pixels = (ops.arange(self.size[axis], dtype="float32") + 0.5) / self.size[axis]
            place = ops.clip((pixels - start - extent / 2) / extent, low, high)
            places.append(place)
            # Linear interpolation, as a matrix from grid points to pixels.
            points = ops.minimum((place - low) * PER_UNIT, GRID[axis] - 1.0)
            distance = points[..., None] - ops.arange(GRID[axis], dtype="float32")
            weights.append(ops.relu(1.0 - ops.abs(distance)))
        portrait = weights[0] @ self.mean_shape @ ops.transpose(weights[1], (0, 2, 1))
        y = ops.broadcast_to(places[0][:, :, None], ops.shape(portrait))
        x = ops.broadcast_to(places[1][:, None, :], ops.shape(portrait))
        return ops.stack([50.0 * x, 50.0 * y, 200.0 * portrait - 100.0], axis=-1)

    def compute_output_shape(self, boxes_shape):
        return (boxes_shape[0], *self.size, 3)

    def get_config(self):
        return {**super().get_config(), "input_shape": self.size}


@keras.saving.register_keras_serializable("portrait_segmentation")
class PortraitFCNPlus(keras.Model):
    """A network with the inputs `image` and `face` that finds the faces itself."""

    _told = False  # whether the warning about pictures without a face was given

    @property
    def input_shape(self) -> tuple:
        """The shape of the pictures, (None, H, W, 3)."""
        return self.input["image"].shape

    def fit(self, x, *args, validation_data=None, **kwargs):
        """Trains as `keras.Model.fit` does, on a `data_generator.PortraitSequence`.

        If the weights do not contain a mean portrait, it is computed from the training pictures.
        """
        weight = self.get_layer("face_frame").mean_shape
        if not ops.convert_to_numpy(weight).any():
            weight.assign(mean_shape(x.images, x.mattes))
        validation = WithFaces(validation_data) if validation_data is not None else None
        return super().fit(WithFaces(x), *args, validation_data=validation, **kwargs)

    def predict_on_batch(self, x):
        """The outputs for pictures (N, H, W, 3). Warns once if a picture has no face."""
        boxes, found = find_faces(x)
        if not found.all() and not self._told:
            log.warning("no face was found in a picture: a centred box is used (shown once)")
            self._told = True
        return super().predict_on_batch({"image": x, "face": boxes})
