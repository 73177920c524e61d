"""Tests MediaPipe's metadata field by field, and with MediaPipe."""

import mediapipe_process
import numpy as np
import pytest
import tiny_network
import tiny_tflite
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import encode, number_types
from flatbuffers.table import Table

from portrait.errors import UserError
from portrait.export import tflite
from portrait.models.build import build, for_inference
from portrait.tflite import metadata


def _root(buffer: bytes) -> Table:
    return Table(buffer, encode.Get(number_types.UOffsetTFlags.packer_type, buffer, 0))


def _field(table: Table, place: int) -> int:
    """Where a table's field is; places are numbered as in the public schema."""
    offset = table.Offset(4 + 2 * place)
    assert offset, f"no field {place}"
    return table.Pos + offset


def _table(table: Table, place: int) -> Table:
    return Table(table.Bytes, table.Indirect(_field(table, place)))


def _item(table: Table, place: int) -> Table:
    """The one table of a vector."""
    offset = _field(table, place) - table.Pos
    assert table.VectorLen(offset) == 1
    return Table(table.Bytes, table.Indirect(table.Vector(offset)))


def _text(table: Table, place: int) -> bytes:
    return table.String(_field(table, place))


def _byte(table: Table, place: int) -> int:
    return table.Get(number_types.Int8Flags, _field(table, place))


def _float(table: Table, place: int) -> float:
    offset = _field(table, place) - table.Pos
    assert table.VectorLen(offset) == 1
    return table.Get(number_types.Float32Flags, table.Vector(offset))


def test_fields():
    written = metadata.image_segmenter("net", "words")
    assert written[4:8] == b"M001"
    model = _root(written)
    assert [_text(model, place) for place in (0, 1, 7)] == [b"net", b"words", b"1.0.0"]
    graph = _item(model, 3)
    image, alpha, custom = _item(graph, 2), _item(graph, 3), _item(graph, 9)
    assert [_text(each, 0) for each in (image, alpha, custom)] == [
        b"image",
        b"alpha",
        b"SEGMENTER_METADATA",
    ]
    content = _table(image, 3)
    assert _byte(content, 0) == 2  # ImageProperties
    assert _byte(_table(content, 1), 0) == 1  # RGB
    step = _item(image, 4)
    assert _byte(step, 0) == 1  # NormalizationOptions
    # (pixel - 0) / 1: raw pixels, for the network normalises inside.
    assert [_float(_table(step, 1), place) for place in (0, 1)] == [0.0, 1.0]
    offset = _field(custom, 1) - custom.Pos
    start = custom.Vector(offset)
    options = written[start : start + custom.VectorLen(offset)]
    assert options[4:8] == b"V001"
    assert _byte(_root(options), 0) == 0  # the sigmoid is in the network


def test_a_network_for_videos_states_its_name_alone():
    """MediaPipe gives a file that states a range of pixels an opaque fourth channel."""
    model = for_inference(build("selfie_net_video", (64, 32), "small"))
    file = tflite.convert(model, "float32")
    assert metadata.stated_name(file) == "selfie_net_video_small"
    assert metadata.stated_normalization(file, "video") is None
    written = metadata.name_only("net", "words")
    assert written[4:8] == b"M001"
    assert [_text(_root(written), place) for place in (0, 1, 7)] == [b"net", b"words", b"1.0.0"]
    assert not any(_root(written).Offset(4 + 2 * place) for place in (3, 4))
    plain = tflite.convert(for_inference(tiny_network.build(), 3), "float32")
    assert metadata.stated_name(plain) == "tiny"
    assert metadata.stated_normalization(plain, "tiny") == (0, 1)
    assert metadata.stated_name(tiny_tflite.convolution((8, 8), stated=False)) == ""


def test_numbers_of_each_channel_are_refused():
    """As of a network that was trained with ImageNet's means."""
    file = tflite.convert(for_inference(tiny_network.build(), 3), "float32")
    stored = _stored(file)
    several = bytearray(stored)
    image = _item(_item(_root(several), 3), 2)
    options = _table(_item(image, 4), 1)
    count = options.Vector(_field(options, 0) - options.Pos) - 4
    several[count] = 2  # the next number is another field, and differs
    with pytest.raises(UserError, match="net normalises each channel"):
        metadata.stated_normalization(bytes(file).replace(stored, several), "net")


def _stored(file: bytes) -> bytes:
    """The metadata in a `.tflite` file."""
    parsed = schema.Model.GetRootAs(file, 0)
    entries = [parsed.Metadata(i) for i in range(parsed.MetadataLength())]
    (entry,) = [each for each in entries if each.Name() == b"TFLITE_METADATA"]
    return parsed.Buffers(entry.Buffer()).DataAsNumpy().tobytes()


def test_file_holds_it():
    model = for_inference(tiny_network.build(), 4)
    stored = _stored(tflite.convert(model, "float32"))
    assert stored[4:8] == b"M001"
    assert _text(_root(stored), 0) == b"tiny_rgba"
    assert b"RGBA" in _text(_root(stored), 1)


@pytest.mark.slow
def test_mediapipe_gives_the_same_masks(tmp_path):
    mediapipe_process.skip_without()
    trained = tiny_network.build()
    (picture,) = pictures = tiny_network.pictures(1)
    kinds = [(kind, 3) for kind in tflite.TOLERANCES]
    kinds += [("float32", 4), ("float16", 4), ("dynamic", 4), ("int8", 4)]
    paths = []
    for kind, channels in kinds:
        path = tmp_path / f"{'rgba' if channels == 4 else 'rgb'}_{kind}.tflite"
        path.write_bytes(tflite.convert(for_inference(trained, channels), kind, pictures))
        paths.append(path)
    masks = mediapipe_process.masks(paths, pictures, seconds=120)
    for path in paths:
        alpha = tflite.runtimes(path)["XNNPACK"](picture)
        assert alpha.std() > 0.1
        assert masks[path.stem].shape == (1, 1, *alpha.shape)
        # MediaPipe's XNNPACK may be another version, which may round 8 bits the other way.
        largest = 1e-5 if "float" in path.stem else 2 / 255
        np.testing.assert_allclose(masks[path.stem][0, 0], alpha, atol=largest, err_msg=path.stem)
