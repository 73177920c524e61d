"""The metric that Keras reports for each epoch of training, accumulated over batches.

The full set, at the photographs' own size, is in `metrics.py`; `keras.metrics.MeanAbsoluteError`
is its MAD.
"""

import keras
from keras import ops

import metrics


@keras.saving.register_keras_serializable(package="portrait_segmentation")
class PersonIoU(keras.metrics.MeanMetricWrapper):
    """Person IoU of the masks `>= 0.5`, the mean over the pictures seen so far.

    It is `metrics.person_iou` of each picture at the network's size, and counts each picture the
    same. `keras.metrics.BinaryIoU` pools the pixels of all pictures instead, so that a small
    person hardly counts. Takes `y_true` and `y_pred` of shape (N, H, W, 1), 0..1; on a picture
    without a person it is 1 if no person is predicted, else 0.
    """

    def __init__(self, name: str = "person_iou", dtype=None):
        super().__init__(fn=_iou_of_each, name=name, dtype=dtype)
        self._direction = "up"

    def get_config(self) -> dict:
        return {"name": self.name, "dtype": self.dtype}


def _iou_of_each(y_true, y_pred):
    """IoU of each picture, (N,). Counts in float32: float16 is not exact above 2048."""
    true = ops.cast(ops.greater_equal(y_true, metrics.THRESHOLD), "float32")
    predicted = ops.cast(ops.greater_equal(y_pred, metrics.THRESHOLD), "float32")
    both = ops.sum(true * predicted, axis=(1, 2, 3))
    union = ops.sum(ops.maximum(true, predicted), axis=(1, 2, 3))
    return ops.where(union > 0, both / ops.maximum(union, 1.0), 1.0)
