"""Tests that Core ML files keep their contract and agree with the Keras model.

They run in the interpreters of `export`, not in Apple's runtime.
"""

import json
import zipfile

import coremltools as ct
import keras
import numpy as np
import pytest
import tiny_network

from portrait.export import (
    FORMATS,
    FilesRefused,
    convert_all,
    coreml,
    coreml_finish,
    coreml_interpreter,
    mlmodel_interpreter,
    verify,
)
from portrait.export.formats import ExportError
from portrait.export.samples import Samples
from portrait.models.build import for_inference

HEIGHT, WIDTH = tiny_network.SIZE


@pytest.fixture(scope="module")
def trained():
    return tiny_network.build()


@pytest.fixture(scope="module")
def model(trained):
    return for_inference(trained)


@pytest.fixture(scope="module")
def pictures():
    return tiny_network.pictures()


@pytest.fixture(scope="module")
def expected(model, pictures):
    alphas = verify.keras_outputs(model, pictures)
    assert alphas.std() > 0.1
    return alphas


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    """Returns a path for every kind of file."""
    folder = tmp_path_factory.mktemp("coreml")
    paths = {kind: folder / f"tiny{format_.suffix}" for kind, format_ in coreml.FORMATS.items()}
    for kind, path in paths.items():
        coreml.save(coreml.convert(model, kind), path)
    return paths


def _alphas(path, pictures) -> np.ndarray:
    (run,) = coreml.runtimes(path).values()
    return np.stack([run(picture) for picture in pictures])


def _description(path):
    return ct.utils.load_spec(str(path)).description


@pytest.mark.parametrize("kind", coreml.TOLERANCES)
def test_contract(files, kind):
    description = _description(files[kind])
    (image,) = description.input
    alpha, matte = description.output
    assert (image.name, alpha.name, matte.name) == ("image", "alpha", "matte")
    types = ct.proto.FeatureTypes_pb2
    for feature, colour in ((image, "RGB"), (matte, "GRAYSCALE")):
        found = feature.type.imageType
        assert (found.height, found.width) == (HEIGHT, WIDTH)
        assert types.ImageFeatureType.ColorSpace.Name(found.colorSpace) == colour
    array = alpha.type.multiArrayType
    assert types.ArrayFeatureType.ArrayDataType.Name(array.dataType) == "FLOAT32"
    assert [*array.shape] == [1, 1, HEIGHT, WIDTH]
    assert all(each.shortDescription for each in (image, alpha, matte, description.metadata))
    assert description.metadata.license and description.metadata.versionString


def test_systems_that_the_files_need(files):
    versions = {
        kind: ct.utils.load_spec(str(path)).specificationVersion for kind, path in files.items()
    }
    ios13, ios15, ios16 = 4, 6, 7
    assert versions == {
        "mlpackage_float32": ios15,
        "mlpackage_float16": ios15,
        "mlpackage_int8": ios16,
        "mlpackage_palettized": ios16,
        "mlmodel": ios13,
    }


@pytest.mark.parametrize(
    ("kind", "largest"),
    # Causes: another order of sums; weights and results of 11 bits; weights of 8 and of 6 bits.
    [
        ("mlpackage_float32", 1e-6),
        ("mlpackage_float16", 4e-3),
        ("mlpackage_int8", 5e-3),
        ("mlpackage_palettized", 2e-2),
        ("mlmodel", 1e-6),
    ],
)
def test_equals_keras(files, pictures, expected, kind, largest):
    alphas = _alphas(files[kind], pictures)
    assert alphas.dtype == np.float32
    assert np.abs(alphas - expected).max() < largest
    np.testing.assert_array_equal(coreml.run(files[kind], pictures[1]), alphas[1])


def test_the_weights_are_read_from_the_file(files, pictures, tmp_path):
    specification = ct.utils.load_spec(str(files["mlmodel"]))
    (last,) = (each for each in specification.neuralNetwork.layers if "/output" in each.name)
    last.convolution.weights.floatValue[0] += 0.1
    changed = tmp_path / "changed.mlmodel"
    ct.utils.save_spec(specification, str(changed))
    difference = _alphas(changed, pictures) - _alphas(files["mlmodel"], pictures)
    assert np.abs(difference).max() > 1e-3


@pytest.mark.parametrize("kind", ["mlpackage_float16", "mlmodel"])
def test_matte_is_alpha_in_255ths(files, pictures, kind):
    image = pictures[0].transpose(2, 0, 1)[None].astype(np.float32)
    interpreter = mlmodel_interpreter if kind == "mlmodel" else coreml_interpreter
    outputs = interpreter.run(interpreter.load(files[kind]), {"image": image})
    assert outputs["alpha"].shape == outputs["matte"].shape == (1, 1, HEIGHT, WIDTH)
    step = 2**-11 if kind == "mlpackage_float16" else 1e-6
    np.testing.assert_allclose(outputs["matte"], 255 * outputs["alpha"], rtol=step)


def test_all_constants_of_float16_packages_are_float16(files):
    program = coreml_interpreter.load(files["mlpackage_float16"])
    (function,) = program.functions.values()
    convolutions = [op for op in function.operations if op.op_type.startswith("conv")]
    assert len(convolutions) == 8
    types = {each.val.dtype for op in convolutions for each in (op.weight, op.bias) if each}
    assert types == {np.dtype(np.float16)}
    (slopes,) = (op.alpha.val for op in function.operations if op.op_type == "prelu")
    assert slopes.dtype == np.float16


def test_results_of_float16_packages_are_rounded_as_on_a_phone(files, pictures, expected):
    image = pictures[0].transpose(2, 0, 1)[None].astype(np.float32)
    program = coreml_interpreter.load(files["mlpackage_float16"])
    rounded = coreml_interpreter.run(program, {"image": image}, round_results=True)["alpha"][0, 0]
    np.testing.assert_array_equal(coreml.run(files["mlpackage_float16"], pictures[0]), rounded)
    assert np.abs(rounded - expected[0]).max() > 1e-5


def test_only_large_weights_are_compressed(files):
    for kind, op in (
        ("mlpackage_int8", "constexpr_affine_dequantize"),
        ("mlpackage_palettized", "constexpr_lut_to_dense"),
    ):
        # Of the eight kernels above three have 512 weights and more.
        assert coreml_interpreter.count_ops(coreml_interpreter.load(files[kind]))[op] == 3


def test_export_with_all_checks(trained, pictures, expected, tmp_path):
    mattes = np.where(expected > np.median(expected), 255, 0).astype(np.uint8)
    samples = Samples(pictures, pictures, mattes, "a portrait of scikit-image")
    kinds = ["mlpackage_float32", "mlmodel"]
    report = convert_all(trained, tmp_path, "net", samples, formats=kinds)
    assert {path.name for path in tmp_path.iterdir()} == {
        "net_float32.mlpackage",
        "net.mlmodel",
        "net_export.json",
        "net_export.png",
    }
    package, older = report["files"]
    assert package["kept"] and older["kept"]
    assert package["ops"]["conv"] == 7 and older["ops"]["convolution"] == 8
    assert package["gpu"]["verdict"] == "-"
    (runtime,) = package["against_keras"]
    assert "not Apple" in runtime
    assert set(coreml.FORMATS) <= set(FORMATS)


def test_zip(files, pictures, tmp_path):
    package = files["mlpackage_int8"]
    first, second = tmp_path / "a.mlpackage.zip", tmp_path / "b.mlpackage.zip"
    coreml.zip_package(package, first)
    coreml.zip_package(package, second)
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        archive.extractall(tmp_path)
    unpacked = tmp_path / package.name
    np.testing.assert_array_equal(_alphas(unpacked, pictures), _alphas(package, pictures))


def test_what_callers_get_wrong(trained, model):
    with pytest.raises(ValueError, match="mlpackage_float32"):
        coreml.convert(model, "float32")
    with pytest.raises(ValueError, match="RGBA"):
        coreml.convert(for_inference(trained, 4), "mlmodel")


def test_an_op_that_coremltools_does_not_know_is_that_file_s_alone(pictures, tmp_path):
    image = keras.Input((HEIGHT, WIDTH, 3), name="image")
    x = keras.layers.Conv2D(3, 1, trainable=False, name="normalize")(image)
    x = keras.layers.Conv2D(4, 1, activation="gelu")(x)
    alpha = keras.layers.Conv2D(1, 1, activation="sigmoid", name="output")(x)
    network = keras.Model(image, {"output": alpha, "boundary_attention": alpha}, name="gelu")
    samples = Samples(pictures, pictures, np.zeros(pictures.shape[:3], np.uint8), "noise")
    with pytest.raises(FilesRefused, match=r"1 of 2 .*net_float32\.mlpackage"):
        convert_all(network, tmp_path, "net", samples, formats=["mlpackage_float32", "float32"])
    report = json.loads((tmp_path / "net_export.json").read_text())
    assert report["files"][0]["refused"].startswith("coremltools: ")
    assert (tmp_path / "net_float32.tflite").is_file()


def test_a_converter_that_gives_something_else(files):
    converted = ct.models.MLModel(str(files["mlmodel"]), skip_model_load=True)
    larger = for_inference(tiny_network.build((HEIGHT, 2 * WIDTH)))
    with pytest.raises(ExportError, match=f"image .*{HEIGHT} x {2 * WIDTH}"):
        coreml_finish.finish(converted, larger)


def test_paths_that_are_not_utf8(trained, pictures, expected, tmp_path):
    """coremltools cannot open a package there; other files are still written."""
    mattes = np.where(expected > np.median(expected), 255, 0).astype(np.uint8)
    samples = Samples(pictures, pictures, mattes, "a portrait of scikit-image")
    folder = tmp_path / "caf\udce9"
    kinds = ["mlpackage_float32", "mlmodel"]
    with pytest.raises(FilesRefused, match=r"1 of 2 .*net_float32\.mlpackage"):
        convert_all(trained, folder, "net", samples, formats=kinds)
    assert {path.name for path in folder.iterdir()} == {
        *("net.mlmodel", "net_export.json", "net_export.png")
    }
    assert "UTF-8" in json.loads((folder / "net_export.json").read_text())["files"][0]["refused"]
