"""Tests that files in both Core ML formats have the alphas of the Keras model."""

import coremltools as ct
import keras
import numpy as np
import pytest
import tiny_network
from tiny_portraits import draw

from portrait.export import coreml, verify
from portrait.models.build import build, for_inference
from portrait.models.weights import shipped_weights

KINDS = ("mlpackage_float32", "mlmodel")
EACH = ("mlpackage_float32", pytest.param("mlmodel", marks=pytest.mark.slow))


@pytest.fixture(autouse=True)
def _the_same_weights():
    """With some random weights, all alphas are 0."""
    keras.utils.set_random_seed(0)


def _error(model: keras.Model, kind: str, folder, pictures: np.ndarray) -> float:
    """Converts a network, and returns the largest |alpha - Keras's alpha|."""
    path = folder / f"net{coreml.FORMATS[kind].suffix}"
    coreml.save(coreml.convert(model, kind), path)
    expected = verify.keras_outputs(model, pictures)
    assert expected.std() > 0.05
    (run,) = coreml.runtimes(path).values()
    return max(
        np.abs(run(picture) - alpha).max()
        for picture, alpha in zip(pictures, expected, strict=True)
    )


def test_a_prelu_is_one_op_even_where_a_skip_reads_its_input(tmp_path):
    layers = keras.layers
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 1)(image)
    slopes = keras.initializers.RandomUniform(-0.5, 0.5, seed=0)
    branch = layers.PReLU(shared_axes=[1, 2], alpha_initializer=slopes)(x)
    x = layers.Add()([x, layers.Conv2D(4, 3, padding="same")(branch)])
    model = keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid")(x))
    picture = tiny_network.pictures(1, (8, 8))
    for kind, name in zip(KINDS, ("prelu", "PReLU"), strict=True):
        assert _error(model, kind, tmp_path, picture) < 1e-5
        ops = coreml.inspect(tmp_path / f"net{coreml.FORMATS[kind].suffix}", None).ops
        assert ops[name] == 1
        assert ops["add"] == 1 and not ops["relu"]


@pytest.mark.parametrize("kind", EACH)
def test_the_alpha_before_is_a_second_image(kind, tmp_path):
    """Both inputs matter, and the matte of one frame has the type that the next one takes."""
    model = build("selfie_net_video", (64, 32), "small")
    random = np.random.default_rng(0)
    # As if trained: at first, the network does not look at the alpha before.
    norm = model.get_layer("previous_narrow_norm")
    norm.set_weights([random.uniform(1, 3, each.shape) for each in norm.weights])
    pictures = random.integers(0, 256, (2, 64, 32, 4), np.uint8)
    pictures[1, ..., :3] = pictures[0, ..., :3]
    model = for_inference(model)
    first, second = verify.keras_outputs(model, pictures)
    assert np.abs(first - second).max() > 0.01
    assert _error(model, kind, tmp_path, pictures) < 1e-4
    specification = ct.utils.load_spec(str(tmp_path / f"net{coreml.FORMATS[kind].suffix}"))
    described = specification.description
    assert [each.name for each in described.input] == ["image", "previous"]
    assert [each.name for each in described.output] == ["alpha", "matte"]
    assert described.input[1].type == described.output[1].type


@pytest.mark.parametrize("kind", [*EACH, "mlpackage_float16"])
def test_the_refiner(kind, tmp_path):
    """Its mix of three maps is a softmax and a sum over the last dimension of transposed maps."""
    trained = build("refiner", (32, 48))
    trained.load_weights(shipped_weights("refiner"))
    images, mattes = draw(2, (32, 48))
    guided, coarse = np.stack([mattes, np.roll(mattes, 1, axis=2)])[..., None]
    pictures = np.concatenate([images, guided, coarse], axis=3)
    model = for_inference(trained)
    path = tmp_path / f"net{coreml.FORMATS[kind].suffix}"
    coreml.save(coreml.convert(model, kind), path)
    (run,) = coreml.runtimes(path).values()
    parity, alphas = verify.compare(run, pictures, verify.keras_outputs(model, pictures))
    assert not verify.problem(parity, coreml.TOLERANCES[kind])
    assert alphas.std() > 0.05
    described = ct.utils.load_spec(str(path)).description
    assert [each.name for each in described.input] == ["image", "guided", "coarse"]


def _vgg_like(x):
    """Parts of the baselines: pools, a dilated convolution, odd sizes, enlargement."""
    layers = keras.layers
    height, width = x.shape[1:3]
    deep = layers.MaxPooling2D(2, padding="same")(x)
    deep = layers.Conv2D(8, 3, padding="same", dilation_rate=2, activation="relu")(deep)
    deep = layers.AveragePooling2D(3, strides=2, padding="same")(deep)
    deep = layers.Conv2DTranspose(8, 4, strides=4, padding="same")(deep)
    cell = (height // 2, width // 3)
    wide = layers.UpSampling2D(cell, interpolation="bilinear")(layers.AveragePooling2D(cell)(x))
    return layers.Concatenate(name="joined")([x, deep, wide])


@pytest.mark.parametrize("kind", EACH)
def test_parts_of_the_baselines(kind, tmp_path):
    size = (48, 36)
    model = for_inference(tiny_network.build(size, tail=_vgg_like))
    pictures = tiny_network.pictures(2, size)
    assert _error(model, kind, tmp_path, pictures) < 1e-5


@pytest.mark.parametrize(
    ("name", "size", "largest"),
    [
        pytest.param("mattingnet", "small", 1e-5, marks=pytest.mark.slow),
        pytest.param("fast_scnn", "big", 1e-5, marks=pytest.mark.slow),
        pytest.param("lite_unet", "big", 1e-5, marks=pytest.mark.slow),
        pytest.param("ensemble", "big", 1e-5, marks=pytest.mark.slow),
        # Without training, the sums of 28 residual blocks grow, and their errors, too.
        pytest.param("mattingnet", "big", 1e-4, marks=pytest.mark.slow),
    ],
)
def test_the_real_networks(name, size, largest, tmp_path):
    trained = build(name, (64, 64), size)
    pictures = tiny_network.pictures(4, (64, 64))
    _liven(trained, pictures)
    model = for_inference(trained)
    for kind in KINDS:
        assert _error(model, kind, tmp_path, pictures) < largest, kind


def _liven(model: keras.Model, pictures: np.ndarray) -> None:
    """Gives a new network statistics of pictures, and logits of mean 0 and deviation 2."""
    batch = pictures.astype(np.float32)
    for _ in range(10):
        model(batch, training=True)
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.PReLU):
            layer.set_weights([random.uniform(0, 0.5, layer.alpha.shape)])
    last = model.get_layer("output")
    sigmoid, last.activation = last.activation, keras.activations.linear
    logits = np.asarray(model(batch)["output"])
    last.activation = sigmoid
    *others, kernel, bias = last.get_weights()
    scale = 2 / logits.std()
    last.set_weights([*others, kernel * scale, (bias - logits.mean()) * scale])
