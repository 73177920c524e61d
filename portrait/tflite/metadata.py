"""The metadata that MediaPipe Tasks needs to load a `.tflite` file as an `ImageSegmenter`.

It consists of two flatbuffers with public schemas of MediaPipe: metadata_schema.fbs (file id M001)
and image_segmenter_metadata_schema.fbs (V001). The first contains the second, and is stored in the
buffer of the model that is called `BUFFER_NAME`.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import flatbuffers
from flatbuffers import encode, number_types
from flatbuffers.table import Table

from portrait.errors import UserError, first_line
from portrait.tflite import graph as tflite_graph

BUFFER_NAME = "TFLITE_METADATA"

# Values of the schemas' enums and unions.
_NORMALIZATION_OPTIONS = 1
_IMAGE_PROPERTIES = 2
_RGB = 1
_NO_ACTIVATION = 0


def image_segmenter(name: str, description: str) -> bytes:
    """Makes the metadata of a model with the image input `image` and the output `alpha`, 0..1.

    For a float model, MediaPipe computes (pixel - mean) / std from pixels in 0..255, with one mean
    and std for all channels. The networks take raw pixels and normalise each channel inside, so the
    mean is 0 and the std 1. A uint8 model takes raw bytes. Without mean and std, MediaPipe 1.2
    crashes on a uint8 model with 4 channels; with them it raises an error. No activation of the
    output is set, because the network contains the sigmoid.

    Args:
        name: the name of the model.
        description: a description in one sentence.

    Returns:
        The bytes of the model's buffer `BUFFER_NAME`.
    """
    # A table is a dict from field numbers to values; a union has two fields, its type and value.
    normalization = {0: [0.0], 1: [1.0]}
    image = {
        0: "image",
        3: {0: _IMAGE_PROPERTIES, 1: {0: _RGB}},
        4: [{0: _NORMALIZATION_OPTIONS, 1: normalization}],
    }
    segmenter = _finished({0: _NO_ACTIVATION, 1: "1.0.0"}, b"V001")
    graph = {2: [image], 3: [{0: "alpha"}], 9: [{0: "SEGMENTER_METADATA", 1: segmenter}]}
    return _finished({0: name, 1: description, 3: [graph], 7: "1.0.0"}, b"M001")


def name_only(name: str, description: str) -> bytes:
    """Makes the metadata of a model for which MediaPipe has no task.

    Without NormalizationOptions, MediaPipe refuses it. With them, it would give it an opaque fourth
    channel.

    Args:
        name, description: as for `image_segmenter`.

    Returns:
        The bytes of the model's buffer `BUFFER_NAME`.
    """
    return _finished({0: name, 1: description, 7: "1.0.0"}, b"M001")


def _finished(table: dict[int, Any], file_id: bytes) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(_offset(builder, table), file_id)
    return bytes(builder.Output())


def _offset(builder: flatbuffers.Builder, value: Any) -> int:
    """Writes a string, bytes, a list of floats or of tables, or a table; returns its offset."""
    match value:
        case str():
            return builder.CreateString(value)
        case bytes():
            return builder.CreateByteVector(value)
        case list():
            floats = isinstance(value[0], float)
            prepend = builder.PrependFloat32 if floats else builder.PrependUOffsetTRelative
            items = value if floats else [_offset(builder, item) for item in value]
            builder.StartVector(4, len(items), 4)
            for item in reversed(items):
                prepend(item)
            return builder.EndVector()
    return _table(builder, value)


def _table(builder: flatbuffers.Builder, fields: dict[int, Any]) -> int:
    """Writes a table and returns its offset; integers are one-byte enums, stored inline."""
    placed = {
        place: value if isinstance(value, int) else _offset(builder, value)
        for place, value in fields.items()
    }
    builder.StartObject(max(fields) + 1)
    for place, value in placed.items():
        if isinstance(fields[place], int):
            builder.PrependInt8Slot(place, value, -1)
        else:
            builder.PrependUOffsetTRelativeSlot(place, value, 0)
    return builder.EndObject()


def stated_normalization(file: bytes, name: str) -> tuple[float, float] | None:
    """Reads (mean, std) from the NormalizationOptions in the metadata of a `.tflite` file.

    Returns None without them. Field numbers are from MediaPipe's metadata_schema.fbs.

    Raises:
        UserError: they differ from channel to channel, or the metadata are damaged; `name` is in
            the message.
    """
    with _damage_named(name):
        root = _root(file)
        for graph in _tables(root, 3) if root else ():
            for image in _tables(graph, 2)[:1]:
                for unit in _tables(image, 4):
                    if unit.Get(number_types.Uint8Flags, _place(unit, 0)) == _NORMALIZATION_OPTIONS:
                        options = Table(root.Bytes, unit.Indirect(_place(unit, 1)))
                        return _one_for_all(options, name)
    return None


def stated_name(file: bytes, name: str = "the file") -> str:
    """Reads the model's name in the metadata of a `.tflite` file; empty without one.

    Raises:
        UserError: the metadata are damaged; `name` is in the message.
    """
    with _damage_named(name):
        root = _root(file)
        place = root and root.Offset(4)
        return root.String(root.Pos + place).decode(errors="replace") if place else ""


@contextlib.contextmanager
def _damage_named(name: str) -> Iterator[None]:
    """Raises UserError for the different exceptions that damaged metadata raise in flatbuffers."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{name}: cannot read its metadata: {first_line(error)}") from error


def _one_for_all(options: Table, name: str) -> tuple[float, float] | None:
    """The mean and std of NormalizationOptions, which must be equal for all channels."""
    mean, std = ({*_floats(options, field)} for field in (0, 1))
    if len(mean) > 1 or len(std) > 1:
        raise UserError(
            f"{name} normalises each channel with other numbers in its metadata: put the "
            "normalisation into the network"
        )
    if not mean or not std:
        return None
    if 0 in std or not all(map(math.isfinite, mean | std)):
        raise ValueError(f"pixels cannot be normalised by {min(mean)} and {min(std)}")
    return mean.pop(), std.pop()


def _root(file: bytes) -> Table | None:
    """The root table of the metadata of a `.tflite` file; None without metadata."""
    model = tflite_graph.parse(file)
    places = [e.buffer for e in model.metadata or () if e.name == BUFFER_NAME.encode()]
    if not places:
        return None
    data = bytes(model.buffers[places[0]].data)
    return Table(data, encode.Get(number_types.UOffsetTFlags.packer_type, data, 0))


def _place(table: Table, field: int) -> int:
    return table.Pos + table.Offset(4 + 2 * field)


def _tables(table: Table, field: int) -> list[Table]:
    """The tables of a field that is a vector of tables; empty if the field is absent."""
    offset = table.Offset(4 + 2 * field)
    if not offset:
        return []
    start, count = table.Vector(offset), table.VectorLen(offset)
    return [Table(table.Bytes, table.Indirect(start + 4 * i)) for i in range(count)]


def _floats(table: Table, field: int) -> list[float]:
    """The elements of a field that is a vector of floats."""
    offset = table.Offset(4 + 2 * field)
    if not offset:
        return []
    start, count = table.Vector(offset), table.VectorLen(offset)
    return [table.Get(number_types.Float32Flags, start + 4 * i) for i in range(count)]
