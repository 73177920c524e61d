"""Tests the baseline networks: shape, range, initial outputs, learning, files."""

import keras
import numpy as np
import pytest
from style_networks import random_vgg
from tiny_portraits import draw

from portrait import losses
from portrait.errors import UserError
from portrait.models import vgg16
from portrait.models.baselines import cnn_resnet, heads, portrait_fcn
from portrait.models.build import build, for_inference
from portrait.models.weights import load_weights

SHAPE = (64, 32)
# Parameters: VGG16's 14,714,688 (its first three blocks 1,735,488), the 12 of `normalize`, and
#   portrait_fcn: fc6 49 x 512^2 + 512, fc7 512^2 + 512, scores 2 x (512 + 512 + 256) + 6,
#     transposed convolutions 2^2 x (4^2 + 4^2 + 16^2);
#   portrait_fcn_plus: 3 more input channels, 9 x 3 x 64, and the mean portrait, 96 x 80;
#   deeplab_lfov: fc6 9 x 512 x 1024 + 1024, fc7 1024^2 + 1024, scores 2 x 1024 + 2;
#   cnn_resnet: (9 + 9 + 1) x 256^2, three normalisations of 4 x 256, scores 2 x 256 + 2.
PARAMETERS = {
    "portrait_fcn": 14_714_688 + 12 + 12_845_568 + 262_656 + 2_566 + 1_152,
    "portrait_fcn_plus": 14_714_688 + 12 + 12_845_568 + 262_656 + 2_566 + 1_152 + 1_728 + 7_680,
    "deeplab_lfov": 14_714_688 + 12 + 4_719_616 + 1_049_600 + 2_050,
    "cnn_resnet": 1_735_488 + 12 + 1_245_184 + 3_072 + 514,
    "refine_unet": None,
}


def pictures(model):
    """A batch as `model` takes it, and its targets."""
    images, mattes = draw(2, SHAPE)
    images = images.astype(np.float32)
    if len(model.inputs) > 1:
        boxes = np.float32([[0.3, 0.2, 0.4, 0.3], [0.2, 0.3, 0.4, 0.3]])
        images = {"image": images, "face": boxes}
    matte = mattes[..., None] / np.float32(255)
    return images, {"output": matte, "boundary_attention": np.float32((matte > 0) & (matte < 1))}


@pytest.fixture(scope="module", params=PARAMETERS)
def fresh(request):
    """The name of a network, and the network with random weights, also of biases and scores."""
    keras.utils.set_random_seed(0)
    model = build(request.param, SHAPE)
    random = np.random.default_rng(0)
    for layer in model.layers:
        if layer.name.startswith(("score", "fc8")):
            layer.set_weights([random.normal(0, 1e-2, each.shape) for each in layer.get_weights()])
    return request.param, model, pictures(model)[0]


def test_parameters(fresh):
    name, model, _ = fresh
    assert model.name == name
    if PARAMETERS[name]:
        assert model.count_params() == PARAMETERS[name]
    else:
        assert 1e6 < model.count_params() < 1.5e6  # few channels, for phones


def test_two_maps_of_the_size_of_the_pictures(fresh):
    _, model, images = fresh
    assert model.input_shape == (None, *SHAPE, 3)
    outputs = model(images, training=False)
    for name in ("output", "boundary_attention"):
        alpha = np.asarray(outputs[name])
        assert (alpha.shape, alpha.dtype) == ((2, *SHAPE, 1), np.float32)
        assert alpha.min() >= 0 and alpha.max() <= 1 and alpha.std() > 0


@pytest.mark.parametrize(
    "name",
    [
        *("cnn_resnet", "refine_unet"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in list(PARAMETERS)[:3]),
    ],
)
def test_steps_lower_the_loss(name):
    keras.utils.set_random_seed(0)
    model = build(name, SHAPE)
    model.compile(
        keras.optimizers.Adam(1e-4),
        loss=losses.training_losses(),
        loss_weights=losses.OUTPUT_WEIGHTS,
        run_eagerly=True,  # tracing takes longer than a few steps
        jit_compile=False,
    )
    images, targets = pictures(model)
    logs = []
    for _ in range(6):
        model.reset_metrics()
        logs.append(model.train_on_batch(images, targets, return_dict=True)["loss"])
    assert min(logs[-2:]) < logs[0]


def test_saved_and_loaded_it_predicts_the_same(fresh, tmp_path):
    name, model, images = fresh
    expected = np.asarray(model(images, training=False)["output"])
    model.save_weights(tmp_path / "a.weights.h5")
    other = build(name, SHAPE)
    load_weights(other, tmp_path / "a.weights.h5")
    assert np.array_equal(np.asarray(other(images, training=False)["output"]), expected)
    if name in ("portrait_fcn_plus", "refine_unet"):  # classes of their own
        model.save(tmp_path / "a.keras")
        archived = keras.models.load_model(tmp_path / "a.keras")
        assert type(archived) is type(model)
        assert np.array_equal(np.asarray(archived(images, training=False)["output"]), expected)


def test_for_inference(fresh):
    name, model, images = fresh
    if name == "portrait_fcn_plus":
        with pytest.raises(UserError, match="portrait_fcn_plus"):
            for_inference(model)
        return
    rgba = np.pad(images, [(0, 0), (0, 0), (0, 0), (0, 1)], constant_values=7)
    alpha = np.asarray(for_inference(model, 4)(rgba, training=False))
    expected = np.asarray(model(images, training=False)["output"])
    assert alpha == pytest.approx(expected, abs=1e-5)


def test_transposed_convolution_starts_as_bilinear_interpolation():
    scores = np.random.default_rng(0).normal(size=(1, 5, 6, 2)).astype(np.float32)
    image = keras.Input((5, 6, 2))
    for factor in (2, 8):
        enlarged = np.asarray(keras.Model(image, heads.upscore(image, factor))(scores))
        expected = keras.layers.UpSampling2D(factor, interpolation="bilinear")(scores)
        inner = np.s_[:, factor:-factor, factor:-factor]  # beyond the border scores are 0
        assert enlarged[inner] == pytest.approx(np.asarray(expected)[inner], abs=1e-5)


def test_skips_of_fcn_8s_add_to_the_scores():
    """Only the biases of the scores set: 1 + 2 + 4 of the person; the outline's stay 0."""
    model = portrait_fcn.build((96, 96))
    for number, name in enumerate(("score_fr", "score_pool4", "score_pool3")):
        model.get_layer(name).bias.assign([2.0**number, 0.0])
    outputs = model(np.zeros((1, 96, 96, 3), np.float32), training=False)
    middle = {name: float(np.asarray(value)[0, 48, 48, 0]) for name, value in outputs.items()}
    assert middle["output"] == pytest.approx(1 / (1 + np.exp(-7.0)), abs=1e-6)
    assert middle["boundary_attention"] == 0.5


def test_cnn_resnet_sees_76_pixels():
    """A pixel changed 38 pixels from a place changes its scores; 45 pixels away, it does not."""
    keras.utils.set_random_seed(0)
    model = cnn_resnet.build((128, 128))
    features = keras.Model(model.input, model.get_layer("score").output)
    grey = np.full((1, 128, 128, 3), 100, np.float32)
    before = np.asarray(features(grey, training=False))[0, 8, 8]
    # The scores at (8, 8) belong to pixels 64 to 71.
    for column, changes in ((68 - 45, False), (68 - 36, True), (67 + 36, True), (67 + 45, False)):
        image = grey.copy()
        image[0, 60:76, column] = 255
        after = np.asarray(features(image, training=False))[0, 8, 8]
        assert np.array_equal(after, before) != changes


def test_the_start_from_vgg16_reaches_every_block():
    weights = {name: array + np.float32(1e-3) for name, array in random_vgg().items()}
    for name, layers in (("cnn_resnet", 7), ("portrait_fcn_plus", 13), ("deeplab_lfov", 13)):
        model = build(name, SHAPE)
        vgg16.load_into(model, weights)
        filled = [layer for layer in model.layers if layer.name in vgg16.LAYERS]
        assert len(filled) == layers
        assert all((np.asarray(layer.bias) == np.float32(1e-3)).all() for layer in filled)
