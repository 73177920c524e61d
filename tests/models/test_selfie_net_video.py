"""SelfieNet with the alpha of the frame before: it starts as SelfieNet, and learns from it."""

import keras
import numpy as np
import pytest

from portrait import losses
from portrait.errors import UserError
from portrait.models.build import build, for_inference
from portrait.models.registry import takes_alpha
from portrait.models.start.start import start

SHAPE = (64, 64)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of a SelfieNet whose statistics are not those of a new network."""
    keras.utils.set_random_seed(1)
    plain = build("selfie_net", SHAPE, "small")
    random = np.random.default_rng(0)
    plain.set_weights([w + 0.05 * random.random(w.shape) for w in plain.get_weights()])
    path = tmp_path_factory.mktemp("weights") / "001-0.1.weights.h5"
    plain.save_weights(path)
    return plain, path


@pytest.fixture
def model(weights):
    keras.utils.set_random_seed(2)
    network = build("selfie_net_video", SHAPE, "small")
    start(network, str(weights[1]), np.zeros((1, *SHAPE, 4), np.uint8))
    return network


def frames(seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (2, *SHAPE, 4)).astype(np.float32)


def test_it_starts_as_selfie_net_whatever_the_frame_before_was(weights, model):
    assert model.input_shape == (None, *SHAPE, 4)
    assert takes_alpha(model.name) == "previous" and not takes_alpha("selfie_net_small")
    pictures = frames()
    expected = weights[0](pictures[..., :3], training=False)
    for previous in (0, 255):
        pictures[..., 3] = previous
        found = model(pictures, training=False)
        for name, each in expected.items():
            assert np.asarray(found[name]) == pytest.approx(np.asarray(each), abs=1e-4)


@pytest.mark.parametrize("size", ["big", "small", "deep"])
def test_it_is_hardly_larger(size):
    plain, video = (build(name, SHAPE, size) for name in ("selfie_net", "selfie_net_video"))
    assert plain.count_params() < video.count_params() < plain.count_params() + 3_000


@pytest.mark.slow
def test_it_learns_from_the_frame_before(model):
    """Only the previous alpha tells the matte."""
    matte = (np.random.default_rng(0).random((4, 8, 8, 1)) > 0.5).astype(np.float32)
    matte = matte.repeat(8, 1).repeat(8, 2)
    pictures = np.concatenate([np.full((4, *SHAPE, 3), 90, np.float32), 255 * matte], axis=3)
    model.compile(
        keras.optimizers.Adam(1e-2),
        loss=losses.training_losses(),
        loss_weights=losses.OUTPUT_WEIGHTS,
        run_eagerly=True,  # tracing takes longer than a few steps
    )
    targets = {"output": matte, "boundary_attention": 0 * matte}
    steps = [float(model.train_on_batch(pictures, targets)[0]) for _ in range(8)]
    assert steps[-1] < 0.8 * steps[0]
    alone = for_inference(model)
    seen, empty = np.asarray(alone(pictures)), pictures.copy()
    empty[..., 3] = 0
    assert np.abs(seen - np.asarray(alone(empty))).max() > 0.01


def test_weights_of_another_size_are_refused(weights):
    with pytest.raises(UserError, match=r"001-0\.1"):
        start(build("selfie_net_video", SHAPE, "big"), str(weights[1]), np.zeros((1, *SHAPE, 4)))
