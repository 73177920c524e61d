"""Sets names and descriptions of a converted Core ML network, and checks inputs and outputs."""

from typing import Any

import coremltools as ct
import keras

from portrait.export.formats import ALPHA, PICTURE, ExportError
from portrait.models.registry import BESIDE, takes_alpha

MATTE = "matte"

_CONTRACT = "1"  # the version of the names, shapes and ranges of inputs and outputs
_AUTHOR = "Trained and exported with Portrait segmentation, small Keras networks for phones."
_BESIDE = {
    "previous": "The matte of the frame before, grayscale: 255 = person. Black if there is none.",
    "guided": "The alpha of the guided filter, grayscale: 255 = person.",
    "coarse": "The coarse alpha, enlarged, grayscale: 255 = person.",
}
_LICENSE = "The license of its author; the terms of the training pictures may also apply."


def finish(converted: ct.models.MLModel, model: keras.Model) -> ct.models.MLModel:
    """Sets names and descriptions of a converted network, and checks its inputs and outputs.

    Args:
        converted: the converter's result. Its inputs are the picture and the alphas beside it, if
            there are any; its outputs are the alpha and the matte, or the painted picture, in this
            order.
        model: the same network in Keras, see `formats.Source`.

    Raises:
        ExportError: the number, sizes or types of inputs or outputs are wrong.
    """
    specification = converted.get_spec()
    described = specification.description
    paints = model.output_shape[3] == 3
    names = (PICTURE,) if paints else (ALPHA, MATTE)
    beside = BESIDE[takes_alpha(model.name)]
    if (len(described.input), len(described.output)) != (1 + len(beside), len(names)):
        raise ExportError(f"{len(described.input)} inputs and {len(described.output)} outputs")
    # TensorFlow calls all outputs Identity.
    for output, name in zip(list(described.output), names, strict=True):
        ct.utils.rename_feature(specification, output.name, name)
    size = model.input_shape[1:3]
    height, width = size
    _describe_image(described.input[0], size, "RGB", f"Photograph, {width} x {height}, RGB.")
    for image, name in zip(described.input[1:], beside, strict=True):
        _describe_image(image, size, "GRAYSCALE", _BESIDE[name])
    if paints:
        text = f"Painted photograph, {width} x {height}, RGB."
        _describe_image(described.output[0], size, "RGB", text)
        purpose = "Paints a photograph in a style"
    else:
        _describe_alpha(described.output[0], size)
        text = "The same as a grayscale image: 255 = person."
        _describe_image(described.output[1], size, "GRAYSCALE", text)
        purpose = "Separates a person from the background, softly"
    described.metadata.shortDescription = f"{purpose} ({model.name})."
    described.metadata.author = _AUTHOR
    described.metadata.license = _LICENSE
    described.metadata.versionString = _CONTRACT
    return ct.models.MLModel(specification, weights_dir=converted.weights_dir, skip_model_load=True)


def _describe_image(feature: Any, size: tuple[int, int], colours: str, text: str) -> None:
    """Sets the description of an input or output that is an image.

    Raises:
        ExportError: it is not an image of this size and colour type.
    """
    colour = ct.proto.FeatureTypes_pb2.ImageFeatureType.ColorSpace.Value(colours)
    found = feature.type.imageType
    if (found.height, found.width, found.colorSpace) != (*size, colour):
        raise ExportError(f"{feature.name} is not an image of {size[0]} x {size[1]}: {found}")
    feature.shortDescription = text


def _describe_alpha(feature: Any, size: tuple[int, int]) -> None:
    """Sets the description and the shape of the alpha.

    Raises:
        ExportError: it is not a float32 array of this size.
    """
    array, shape = feature.type.multiArrayType, (1, 1, *size)
    floats = ct.proto.FeatureTypes_pb2.ArrayFeatureType.FLOAT32
    if array.dataType != floats or tuple(array.shape) not in ((), shape):
        raise ExportError(f"{feature.name} is not an array of float32, {shape}: {array}")
    array.shape[:] = shape  # missing in the older format
    feature.shortDescription = f"Alpha of the person, 0 to 1, shape {shape}."
