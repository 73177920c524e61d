"""Tests that SelfieNet starts with the outputs of MediaPipe's file or of a smaller size."""

import keras
import numpy as np
import pytest
from PIL import Image
from skimage import data
from tiny_portraits import draw

from portrait import losses
from portrait.commands import use
from portrait.errors import UserError
from portrait.export import tflite
from portrait.io.images import resize
from portrait.models.build import build
from portrait.models.start import mediapipe
from portrait.models.start.start import start
from portrait.tflite.runtime import TfliteModel

SHAPE = (64, 32)


def alphas(model, pictures):
    return np.asarray(model(pictures.astype(np.float32), training=False)["output"])


def features(model, pictures, training=False):
    """Returns the input of the alpha's head."""
    part = keras.Model(model.input, model.get_layer("output").input)
    return np.asarray(part(pictures.astype(np.float32), training=training))


def trained_by_chance() -> keras.Model:
    """A network whose normalisations do something; its alphas are 0 or 1 nearly everywhere."""
    keras.utils.set_random_seed(0)
    model = build("selfie_net", SHAPE, "small")
    random = np.random.default_rng(0)
    for layer in model.layers:
        if layer.name.endswith("_norm"):
            gamma, *rest = (random.uniform(0.5, 2, w.shape) for w in layer.get_weights())
            layer.set_weights([gamma, *rest])
    return model


def folded(model) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns its convolutions in the form of MediaPipe's file."""
    kinds = {
        keras.layers.Conv2D: (3, 0, 1, 2),
        keras.layers.DepthwiseConv2D: (3, 0, 1, 2),
        keras.layers.Conv2DTranspose: (2, 0, 1, 3),
    }
    weights = []
    for layer in model.layers:
        if type(layer) not in kinds or layer.name in ("normalize", "boundary_logits"):
            continue
        kernel, *bias = layer.get_weights()
        if not bias:
            norm = model.get_layer(f"{layer.name}_norm")
            gamma, beta, mean, variance = norm.get_weights()
            scale = gamma / np.sqrt(variance + norm.epsilon)
            depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
            kernel, bias = kernel * (scale[:, None] if depthwise else scale), [beta - mean * scale]
        weights.append((kernel.transpose(kinds[type(layer)]), bias[0]))
    return weights


def test_folded_normalisations_are_put_back():
    """The number of pictures is not a multiple of the batch size."""
    model, fresh = trained_by_chance(), build("selfie_net", SHAPE, "small")
    pictures = draw(37, SHAPE)[0]
    expected = features(model, pictures)
    mediapipe.load_into(fresh, folded(model), pictures)
    # In training, on the same pictures, the statistics are the ones that it starts with.
    for training in (False, True):
        # The same sums in another order, some sixty layers deep, in float32.
        error = np.abs(features(fresh, pictures, training) - expected).max()
        assert error < 1e-3 * expected.std()
    head, theirs = (each.get_layer("output").get_weights() for each in (fresh, model))
    assert all(np.array_equal(ours, given) for ours, given in zip(head, theirs, strict=True))


@pytest.fixture(scope="module")
def three_layers() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((*SHAPE, 3))
    x = keras.layers.Conv2D(48, 3, activation="relu", bias_initializer="normal")(image)
    x = keras.layers.DepthwiseConv2D(5, bias_initializer="normal")(x)
    return keras.Model(image, keras.layers.Conv2D(1, 1, activation="sigmoid")(x), name="three")


# Half precision rounds at the 11th binary digit.
@pytest.mark.parametrize("kind, error", [("float32", 0), ("float16", 2**-11)])
def test_kernels_and_biases_of_a_file(three_layers, tmp_path, kind, error):
    (tmp_path / "three.tflite").write_bytes(tflite.convert(three_layers, kind))
    found = mediapipe.read_weights(tmp_path / "three.tflite")
    kernels, biases = zip(*(layer.get_weights() for layer in three_layers.layers[1:]), strict=True)
    assert len(found) == 3
    for (kernel, bias), theirs, offset in zip(found, kernels, biases, strict=True):
        assert kernel == pytest.approx(theirs.transpose(3, 0, 1, 2), rel=error, abs=error / 100)
        assert bias == pytest.approx(offset, rel=error, abs=error / 100)


def test_weights_in_8_bits_are_refused(three_layers, tmp_path):
    (tmp_path / "three.tflite").write_bytes(tflite.convert(three_layers, "dynamic"))
    with pytest.raises(UserError, match=r"three\.tflite"):
        mediapipe.read_weights(tmp_path / "three.tflite")


def test_what_is_no_such_file(tmp_path):
    with pytest.raises(UserError, match=r"gone\.tflite"):
        mediapipe.read_weights(tmp_path / "gone.tflite")
    (tmp_path / "text.tflite").write_text("not a model")
    with pytest.raises(UserError, match=r"text\.tflite"):
        mediapipe.read_weights(tmp_path / "text.tflite")
    model = build("selfie_net", SHAPE, "small")
    with pytest.raises(UserError, match="MediaPipe"):
        mediapipe.load_into(model, folded(model)[:-1], draw(1, SHAPE)[0])
    with pytest.raises(UserError, match=r"text\.tflite"):
        start(model, str(tmp_path / "text.tflite"), draw(1, SHAPE)[0])


def test_it_gives_what_the_file_gives(portrait_data):
    path = portrait_data / "peers" / "mediapipe_selfie_segmentation.tflite"
    model = build("selfie_net", (256, 256), "small")
    photo = resize(data.astronaut(), (256, 256))
    pictures = np.stack([photo, photo[:, ::-1], resize(data.astronaut()[:256, 64:448], (256, 256))])
    start(model, str(path), pictures, exactly=True)
    file = TfliteModel(path, "file")
    expected = np.stack([file((each / 255).astype(np.float32)) for each in pictures])
    assert 0.2 < expected.mean() < 0.8
    # Its logits are in the tens: in float32 they, and so an alpha, are off by some 1e-5.
    assert np.abs(alphas(model, pictures) - expected).max() < 1e-3


def test_a_training_starts_from_softer_alphas():
    model = trained_by_chance()
    pictures = draw(4, SHAPE)[0]
    before = alphas(model, pictures).astype(np.float64)
    mediapipe.soften(model)
    after = alphas(model, pictures)
    # Where float32 still tells an alpha from 0 and 1: p / (1 - p) is the logit's exponential.
    seen = (before > 1e-30) & (before < 1 - 1e-3)
    assert np.count_nonzero(seen) > 1000
    odds = (before[seen] / (1 - before[seen])) ** (1 / mediapipe.STEEPNESS)
    assert after[seen] == pytest.approx(odds / (1 + odds), rel=1e-3)
    assert not np.allclose(after[seen], before[seen], rtol=0.1)


def test_softer_alphas_have_the_file_s_masks(portrait_data):
    path = portrait_data / "peers" / "mediapipe_selfie_segmentation.tflite"
    photo = resize(data.astronaut(), (256, 256))[None]
    exact, soft = (build("selfie_net", (256, 256), "big") for _ in range(2))
    start(exact, str(path), photo, exactly=True)
    start(soft, str(path), photo)
    a, b = alphas(exact, photo), alphas(soft, photo)
    assert np.mean((a > 0.02) & (a < 0.98)) < 0.7 * np.mean((b > 0.02) & (b < 0.98))
    assert np.mean((a > 0.5) != (b > 0.5)) < 1e-4  # rounding, at pixels of one half


def test_the_file_is_used_without_a_training(portrait_data, tmp_path):
    path = portrait_data / "peers" / "mediapipe_selfie_segmentation.tflite"
    photo = resize(data.astronaut(), (256, 256))
    Image.fromarray(photo).save(tmp_path / "photo.png")
    network, weights = use.trained("selfie_net", "small", start=str(path))
    assert weights == path
    alpha, _ = use.predict(network, [tmp_path / "photo.png"], output=tmp_path)
    expected = TfliteModel(path, "file")((photo / 255).astype(np.float32))[..., 0]
    found = np.asarray(Image.open(alpha))
    assert np.abs(found - 255 * expected).max() < 1  # a byte's rounding


@pytest.fixture(scope="module")
def narrow() -> keras.Model:
    keras.utils.set_random_seed(0)
    return build("selfie_net", SHAPE, "small")


@pytest.fixture
def wide() -> keras.Model:
    keras.utils.set_random_seed(1)
    return build("selfie_net", SHAPE, "big")


def test_the_same_from_more_channels(narrow, wide):
    images = draw(2, SHAPE)[0].astype(np.float32)
    before = wide(images, training=False)
    mediapipe.widen(narrow, wide)
    assert wide.count_params() > 2 * narrow.count_params()
    for name, expected in narrow(images, training=False).items():
        found = np.asarray(wide(images, training=False)[name])
        assert np.abs(np.asarray(before[name]) - found).max() > 1e-3
        # Sums with zeros among them, in another order.
        assert found == pytest.approx(np.asarray(expected), abs=1e-6)


def test_new_channels_learn(narrow, wide):
    mediapipe.widen(narrow, wide)
    names = ("block5_expand", "block5_squeeze", "block5_depthwise", "block5_project")
    before = {name: wide.get_layer(name).get_weights()[0] for name in names}
    wide.compile(
        keras.optimizers.Adam(1e-3),
        loss=losses.training_losses(),
        loss_weights=losses.OUTPUT_WEIGHTS,
        run_eagerly=True,  # tracing takes longer than a few steps
        jit_compile=False,
    )
    images, mattes = draw(4, SHAPE)
    matte = mattes[..., None] / np.float32(255)
    targets = {"output": matte, "boundary_attention": matte}
    for _ in range(3):  # initially, no layer uses the new channels
        wide.train_on_batch(images.astype(np.float32), targets)
    for name, old in before.items():
        new = wide.get_layer(name).get_weights()[0]
        old_channels = narrow.get_layer(name).kernel.shape[2]
        assert np.abs(new - old)[:, :, old_channels:].max() > 1e-4, name


def test_each_size_starts_from_weights_of_the_next_smaller_one(narrow, wide, tmp_path):
    images = draw(2, SHAPE)[0]
    narrow.save_weights(tmp_path / "small.weights.h5")
    start(wide, str(tmp_path / "small.weights.h5"), images)
    expected = alphas(narrow, images)
    assert alphas(wide, images) == pytest.approx(expected, abs=1e-6)
    wide.save_weights(tmp_path / "big.weights.h5")
    deep = build("selfie_net", SHAPE, "deep")
    start(deep, str(tmp_path / "big.weights.h5"), images)
    assert alphas(deep, images) == pytest.approx(expected, abs=1e-6)
    assert deep.count_params() > 1.8 * wide.count_params()
    with pytest.raises(UserError, match=r"big\.weights\.h5.*selfie_net_small"):
        start(wide, str(tmp_path / "big.weights.h5"), images)
