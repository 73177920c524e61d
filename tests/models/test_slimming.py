"""A narrow network cut out of a wide one."""

import itertools

import keras
import numpy as np
import pytest
from tiny_portraits import draw

from portrait.errors import UserError
from portrait.models import lite_unet
from portrait.models.build import build
from portrait.models.start import slimming
from portrait.models.start.start import start

SHAPE = (64, 64)
# Stages as in `lite_unet.STAGES`, with a quarter of the channels and fewer blocks.
NARROW_STAGES = (
    *((4, 3, 1, 1), (6, 3, 2, 1), (10, 5, 2, 1)),
    *((20, 3, 2, 2), (28, 5, 1, 1), (48, 5, 2, 2)),
)


def unexplained(answers, kernel, kept, refitted):
    wanted = answers @ kernel
    return ((answers[:, kept] @ refitted - wanted) ** 2).mean() / (wanted**2).mean()


def test_channels_that_follow_from_others_go():
    rng = np.random.default_rng(0)
    independent = rng.normal(size=(500, 5))
    answers = independent @ rng.normal(size=(5, 16))
    kernel = rng.normal(size=(16, 7))
    kept, refitted = slimming.keep_channels(answers, kernel, 5)
    assert kept.shape == (5,) and (np.diff(kept) > 0).all() and refitted.shape == (5, 7)
    assert unexplained(answers, kernel, kept, refitted) < 1e-5
    assert unexplained(answers, kernel, kept, kernel[kept]) > 0.1  # the new projection matters


def test_hardly_worse_than_the_best_of_all_choices():
    rng = np.random.default_rng(1)
    for _ in range(5):
        answers = rng.normal(size=(300, 8)) @ rng.normal(size=(8, 8)) + rng.uniform(0, 2, 8)
        kernel = rng.normal(size=(8, 3)) * rng.uniform(0, 2, (8, 1))
        found = unexplained(answers, kernel, *slimming.keep_channels(answers, kernel, 4))
        every = []
        for kept in itertools.combinations(range(8), 4):
            best = np.linalg.lstsq(answers[:, kept], answers @ kernel, rcond=None)[0]
            every.append(unexplained(answers, kernel, kept, best))
        assert min(every) - 1e-6 <= found < np.percentile(every, 10)


def test_keeping_all_changes_nothing():
    rng = np.random.default_rng(2)
    answers, kernel = rng.normal(size=(50, 6)), rng.normal(size=(6, 4)).astype(np.float32)
    kept, same = slimming.keep_channels(answers, kernel, 6)
    assert kept.tolist() == list(range(6)) and np.array_equal(same, kernel)


def lively_unet():
    """The big U-Net, fresh, but with moving statistics that fit and with alphas of both kinds."""
    keras.utils.set_random_seed(0)
    model = lite_unet.build(SHAPE, "big")
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, *_ = layer.get_weights()
            layer.gamma.assign(rng.uniform(0.7, 1.3, gamma.shape))
            layer.beta.assign(rng.normal(0.3, 0.3, beta.shape))
    images, _ = draw(8, SHAPE)
    for _ in range(10):
        model(images.astype(np.float32), training=True)
    return model


def alphas(model, images):
    return np.asarray(model(images.astype(np.float32), training=False)["output"])


def test_idle_channels_are_cut_away_and_the_alphas_stay(monkeypatch):
    monkeypatch.setattr(lite_unet, "STAGES", NARROW_STAGES)
    wide = lively_unet()
    narrow = lite_unet.build(SHAPE, "small")
    rng = np.random.default_rng(3)
    cut = 0
    for layer in narrow.layers:
        if layer.name.endswith("_expand"):
            norm = wide.get_layer(layer.name.replace("expand", "depthwise_norm"))
            idle = rng.permutation(norm.gamma.shape[0])[layer.filters :]
            cut += len(idle)
            for weight in (norm.gamma, norm.beta):
                values = np.array(weight)
                values[idle] = 0
                weight.assign(values)
    assert cut > 400
    images, _ = draw(12, SHAPE)
    before = alphas(wide, images)
    assert before.std() > 0.02 and np.abs(alphas(narrow, images) - before).mean() > 0.02
    slimming.slim(wide, narrow, images)
    assert np.abs(alphas(narrow, images) - before).max() < 0.02 * before.std()


@pytest.mark.slow
def test_the_small_unet_starts_from_weights_of_the_big_one(tmp_path):
    wide = lively_unet()
    wide.save_weights(tmp_path / "big.weights.h5")
    images, _ = draw(12, SHAPE)
    narrow = build("lite_unet", SHAPE, "small")
    start(narrow, str(tmp_path / "big.weights.h5"), images)
    for name in ("stem", "stage1_block1_project", "boundary_logits"):
        theirs, ours = (model.get_layer(name).get_weights() for model in (wide, narrow))
        assert all(map(np.array_equal, theirs, ours))
    (theirs,), (ours,) = (
        model.get_layer("stage4_block2_expand").get_weights() for model in (wide, narrow)
    )
    assert ours.shape[-1] == theirs.shape[-1] // 2
    wanted = {column.tobytes() for column in theirs[0, 0].T}
    assert all(column.tobytes() in wanted for column in ours[0, 0].T)
    with pytest.raises(UserError, match=r"gone\.weights\.h5"):
        start(narrow, str(tmp_path / "gone.weights.h5"), images)
    with pytest.raises(UserError, match=r"big\.weights\.h5"):
        start(wide, str(tmp_path / "big.weights.h5"), images)


def test_from_chance_where_imagenet_is_not_wanted():
    narrow = build("lite_unet", SHAPE, "small")
    before = narrow.get_weights()
    start(narrow, "none", np.zeros((2, *SHAPE, 3), np.uint8))
    assert all(map(np.array_equal, before, narrow.get_weights()))
