"""Tests quantisation-aware training: its ranges, and int8 files without floats."""

import dataclasses

import keras
import numpy as np
import pytest
import tiny_network
from ai_edge_litert.interpreter import Interpreter

from portrait.errors import UserError
from portrait.export import tflite, verify
from portrait.export.compress import bridge, compress, quantise
from portrait.export.compress.compress import Plan
from portrait.export.formats import ExportError, Tolerance
from portrait.export.samples import Samples
from portrait.tflite import graph


@pytest.fixture(scope="module")
def pictures():
    return tiny_network.pictures(6)


@pytest.fixture(scope="module")
def sequence(pictures):
    return tiny_network.own_alphas(pictures)


@pytest.fixture(scope="module")
def network():
    return bridge.twin(tiny_network.build())


@pytest.fixture(scope="module")
def rounding(network, sequence, pictures):
    """The network after two epochs with rounding."""
    rounding = quantise.quantisation_aware(network, pictures)
    compress.fine_tune(rounding, network, sequence, sequence, Plan("qat", 2))
    return rounding


def test_quantisation_starts_where_the_network_is(network, pictures):
    rounding = quantise.quantisation_aware(network, pictures)
    ranges = {
        variable.name.split(":")[0]: float(variable)
        for layer in rounding.layers
        for variable in layer.weights
        if variable.shape == () and "step" not in variable.name
    }
    batch = pictures.astype(np.float32)
    image, alpha = network.get_layer("normalize")(batch).numpy(), network(batch)[0].numpy()
    assert ranges["quant_normalize/post_activation_max"] == pytest.approx(image.max(), rel=1e-5)
    assert ranges["quant_normalize/post_activation_min"] == pytest.approx(image.min(), rel=1e-5)
    assert ranges["quantize_layer/quantize_layer_max"] == 255
    assert ranges["quant_output/pre_activation_max"] == 8  # sigmoid(8) > 255.9 / 256
    frozen = {layer.name for layer in rounding.layers if not layer.trainable}
    assert {"quant_normalize", "quant_norm"} <= frozen
    assert alpha.std() > 0.1


def unequal_channels(x):
    """A depthwise kernel with channels that differ a thousandfold, and a normalisation after it.

    With tfmot's single step size for all channels, small channels would be rounded to 0.
    """
    depthwise = keras.layers.DepthwiseConv2D(1, use_bias=False, name="unequal")
    norm = keras.layers.BatchNormalization(name="equal")
    x = norm(depthwise(x))
    factors = np.geomspace(1e-3, 1, x.shape[-1]).astype(np.float32)
    depthwise.set_weights([factors.reshape(1, 1, -1, 1)])
    _, offset, mean, variance = norm.get_weights()
    norm.set_weights([1 / factors, offset, mean, variance])
    return x


def test_before_training_the_alphas_are_nearly_the_network_s(pictures):
    network = bridge.twin(tiny_network.build(tail=unequal_channels))
    batch = pictures.astype(np.float32)
    wanted = network(batch)[0].numpy()
    assert wanted.std() > 0.1
    found = quantise.quantisation_aware(network, pictures)(batch, training=False)[0].numpy()
    assert np.abs(found - wanted).mean() < 2 / 256
    np.testing.assert_array_equal(network(batch)[0].numpy(), wanted)  # it is unchanged


@pytest.mark.parametrize(("kind", "channels"), [("int8", 3), ("uint8", 4)])
def test_quantised_end_to_end(rounding, pictures, tmp_path, kind, channels):
    trained = quantise.with_channels(rounding, channels)
    path = tmp_path / "net.tflite"
    path.write_bytes(tflite.convert(trained, kind, quantisation_aware=True))
    ops = graph.read(path.read_bytes()).ops
    inner = [op for op in ops if op.name not in ("QUANTIZE", "DEQUANTIZE")]
    assert {"PRELU", "TRANSPOSE_CONV", "LOGISTIC"} <= {op.name for op in inner}
    types = {t.type for op in inner for t in (*op.inputs, *op.outputs)}
    assert types == {"INT8", "INT32"}  # biases are int32
    (taken,) = Interpreter(str(path)).get_input_details()
    assert [*taken["shape"]] == [1, *tiny_network.SIZE, channels]
    if kind == "uint8":
        assert taken["quantization"] == (1.0, 0)
    expected = np.stack(
        [
            trained(verify.as_input(each, channels, 0), training=False)[0, ..., 0]
            for each in pictures
        ]
    )
    for runtime in tflite.runtimes(path).values():
        # Some values differ by 1/256, where the file and the training round differently.
        parity, _ = verify.compare(runtime, pictures, expected)
        assert parity.mean_error < 2 / 256
        assert parity.max_error < 16 / 256


def all_sorts(x):
    """Tests parts that tfmot does not support: squeeze and excitation, hard swish, scales."""
    layers = keras.layers
    whole = layers.AveragePooling2D(x.shape[1:3])(layers.Activation("hard_silu")(x))
    x = layers.Multiply()([x, layers.Conv2D(9, 1, activation="sigmoid")(whole)])
    x = layers.UpSampling2D(2, interpolation="bilinear")(layers.MaxPooling2D(2)(x))
    first, *_ = keras.ops.split(layers.Rescaling(0.1)(x), 3, axis=-1)
    return first


def test_what_tfmot_does_not_know_is_quantised_too(pictures):
    network = bridge.twin(tiny_network.build(tail=all_sorts))
    rounding = quantise.quantisation_aware(network, pictures)
    file = tflite.convert(quantise.with_channels(rounding, 3), "int8", quantisation_aware=True)
    ops = [op for op in graph.read(file).ops if op.name not in ("QUANTIZE", "DEQUANTIZE")]
    assert {"HARD_SWISH", "MUL", "STRIDED_SLICE"} <= {op.name for op in ops}
    assert {t.type for op in ops for t in (*op.inputs, *op.outputs)} == {"INT8", "INT32"}


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.BatchNormalization(name="mine"),
        keras.layers.Activation("hard_sigmoid", name="mine"),
    ],
)
def test_a_layer_that_cannot_be_quantised_is_named(pictures, layer):
    network = bridge.twin(tiny_network.build(tail=lambda x: layer(keras.layers.ReLU()(x))))
    with pytest.raises(UserError, match="mine"):
        quantise.quantisation_aware(network, pictures)


def test_what_stays_in_float_is_refused(network, pictures):
    alpha = network.outputs[0]  # without rounding
    with pytest.raises(ExportError, match="stays in float"):
        tflite.convert(type(network)(network.input, alpha), "int8", quantisation_aware=True)


@pytest.mark.parametrize("android", [False, True])
def test_files(sequence, pictures, tmp_path, monkeypatch, android):
    for kind in ("int8", "uint8"):  # 8 bits change many masks, because all alphas are about 0.5
        lenient = dataclasses.replace(tflite.FORMATS[kind], tolerance=Tolerance(None, 0.1))
        monkeypatch.setitem(tflite.FORMATS, kind, lenient)
    samples = Samples(pictures, pictures, sequence.mattes, "a portrait of scikit-image")
    model = tiny_network.build()
    before = [each.copy() for each in model.get_weights()]
    report = compress.compress(
        model,
        sequence,
        sequence,
        Plan("qat", 2),
        tmp_path,
        "net",
        samples,
        android=android,
    )
    name = f"net_qat{'_rgba' if android else ''}"
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}_int8.tflite",
        f"{name}_uint8.tflite",
        f"{name}_export.json",
        f"{name}_export.png",
    }
    assert all(file["gpu"]["verdict"] == "yes" for file in report["files"])
    for mine, its in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(its, mine)


def test_with_rgba_it_gives_what_it_gives_with_rgb(rounding, pictures):
    rgb = pictures.astype(np.float32)
    rgba = np.concatenate([rgb, 255 - rgb[..., :1]], axis=3)
    alphas = [
        quantise.with_channels(rounding, each.shape[3])(each, training=False).numpy()
        for each in (rgb, rgba)
    ]
    np.testing.assert_allclose(*alphas, atol=1e-5)
