"""Tests the largest activations of `.tflite` files by hand and against Keras."""

import keras
import pytest
import tiny_network

from portrait.export import gpu_range, tflite
from portrait.export.convert import FilesRefused, convert_all
from portrait.export.samples import Samples
from portrait.models.build import for_inference
from portrait.models.rescale import largest_activations

SIZE = tiny_network.SIZE


def network(factor):
    """Multiplies the sum of the picture's channels by `factor`, and divides it before the sigmoid.

    No op can merge with another, because of the shape of the sums.
    """
    image = keras.Input((*SIZE, 3), name="image")
    x = tiny_network.normalize(image)
    x = keras.layers.Conv2D(4, 3, padding="same", name="sums")(x)
    x = keras.layers.PReLU(shared_axes=[1, 2], name="prelu")(x)
    names = ("output", "boundary_attention")
    heads = {n: keras.layers.Conv2D(1, 1, activation="sigmoid", name=n)(x) for n in names}
    model = keras.Model(image, heads, name="net")
    kernel, bias = model.get_layer("sums").get_weights()
    model.get_layer("sums").set_weights([kernel * factor, bias])
    for name in names:
        kernel, bias = model.get_layer(name).get_weights()
        model.get_layer(name).set_weights([kernel / factor, bias])
    return model


@pytest.fixture(scope="module")
def pictures():
    return tiny_network.pictures(3)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(3)
    return network(2.0**10)


@pytest.mark.parametrize("kind", ["float32", "float16", "int8"])
def test_activations_are_those_of_keras(model, pictures, kind):
    converted = tflite.convert(for_inference(model), kind, pictures)
    found = gpu_range.largest_activations(converted, pictures, {"sums", "prelu", "output"})
    wanted = largest_activations(model, pictures)["sums"]
    (sums,) = [each.largest for each in found if each.layer == "sums"]
    assert sums == pytest.approx(wanted, rel=0.02 if kind == "int8" else 2e-3)
    assert not gpu_range.check(found)


def test_beyond_the_limit_the_first_layer_is_named():
    activations = [
        gpu_range.Activation(3.0, "CONV_2D", "a", "first"),
        gpu_range.Activation(16_001.0, "ADD", "b", "second"),
        gpu_range.Activation(90_000.0, "CONV_2D", "c", "third"),
    ]
    (violation,) = gpu_range.check(activations)
    assert (violation.op, violation.layer) == ("ADD", "second") and "16,001" in violation.reason
    assert gpu_range.check(activations[:1]) == []
    broken = gpu_range.Activation(float("nan"), "CONV_2D", "a", "first")
    assert gpu_range.check([broken])


def test_a_file_out_of_range_is_refused_unless_it_may_run_on_the_cpu(model, pictures, tmp_path):
    keras.utils.set_random_seed(3)
    far = network(2.0**16)
    samples = Samples(pictures, pictures, None, "three pictures")
    with pytest.raises(FilesRefused, match="allow_cpu_ops"):
        convert_all(far, tmp_path, "far", samples, formats=["float32"])
    assert not (tmp_path / "far_float32.tflite").exists()
    report = convert_all(far, tmp_path, "far", samples, formats=["float32"], allow_cpu_ops=True)
    (file,) = report["files"]
    assert file["kept"] and file["gpu"]["verdict"] == "no"
    assert file["gpu"]["violations"][0]["layer"] == "sums"
    assert file["largest_activation"]["largest"] > 16_000
    assert max(each["largest"] for each in file["activations"]) > 16_000
    report = convert_all(model, tmp_path, "near", samples, formats=["float32"])
    (file,) = report["files"]
    assert file["gpu"]["verdict"] == "yes"
    wanted = largest_activations(for_inference(model), pictures)
    assert file["largest_activation"]["largest"] == pytest.approx(max(wanted.values()), rel=1e-3)
