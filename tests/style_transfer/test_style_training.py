"""Tests the training of the transform network: its run, and resuming."""

import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from style_networks import picture, tiny, tiny_vgg

from portrait.errors import UserError
from portrait.io.images import read_image, write_png
from portrait.style_transfer import training, transform_net
from portrait.style_transfer.crops import PhotoCrops, find_photos
from portrait.style_transfer.painter import load_network, paint
from portrait.training.recipe import Recipe
from portrait.training.run import Progress, Run

# tf.data traces its functions nevertheless, and warns of it.
pytestmark = [pytest.mark.usefixtures("eager"), pytest.mark.filterwarnings("ignore:Even though")]

STYLES = ["red", "blue"]
TARGETS = np.float32([[200, 40, 40], [40, 40, 200]])


def tint(photos, painted, mix):
    """Replaces VGG16: style is a colour, content the brightness."""
    wanted = keras.ops.matmul(mix, TARGETS)[:, None, None, :]
    change = painted - photos
    return {
        "content": keras.ops.mean(keras.ops.square(keras.ops.mean(change, 3))) / 1e4,
        "style": keras.ops.mean(keras.ops.square(painted - wanted)) / 1e4,
        "variation": keras.ops.mean(keras.ops.zeros_like(painted)),
    }


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "COPYING_STEPS", 2)
    for index in range(4):
        write_png(tmp_path / "photos" / f"{index}.png", picture(32, 32, index))
    with tiny():
        yield find_photos([str(tmp_path / "photos")])


def run_training(photos, run, epochs, resume=False, loss=tint, validation=None):
    """Trains from the same initial weights, three batches per epoch."""
    keras.utils.set_random_seed(0)
    network = transform_net.build(size="small", styles=2)
    crops = PhotoCrops(photos, 32, 2, 3, 2)
    recipe = Recipe(epochs=epochs, lr=2e-3, schedule="constant", ema=False, patience=0)
    best = training.train(
        network, loss, crops, validation or photos[:2], STYLES, run, recipe, resume
    )
    return network, best


def settings():
    return {"flags": {"model_size": "small"}, "styles": STYLES}


def test_a_run_leaves_what_painting_needs(photos, tmp_path):
    run = Run.create(tmp_path / "runs", settings())
    _, best = run_training(photos, run, 2)
    names = {path.name for path in run.folder.iterdir()}
    assert names == {"run.json", "history.csv", "previews", "state.npz", best.name}
    rows = (run.folder / "history.csv").read_text().splitlines()
    assert len(rows) == 3 and {"loss", "style", "content", "val_loss"} <= set(rows[0].split(","))
    sheet = read_image(run.folder / "previews" / "epoch_0002.png")
    assert sheet.shape[1] > 6 * 32  # two photos side by side, each with its two styles
    network, names = load_network(run.folder)
    assert names == STYLES
    image = picture(32, 32)[None].astype(np.float32)
    painted = network({"image": image, "mix": np.float32([[1, 0]])})
    assert np.asarray(painted).shape == (1, 32, 32, 3)


@pytest.fixture
def vgg(tmp_path):
    """A file of random weights of a narrow VGG16."""
    with tiny_vgg() as weights:
        np.savez(tmp_path / "vgg.npz", **weights)
        yield str(tmp_path / "vgg.npz")


def test_one_call_trains_and_another_continues(photos, vgg, tmp_path):
    """With VGG16's losses, of random weights, and without flags."""
    paintings = [tmp_path / "sea.png", tmp_path / "sky.png"]
    for seed, path in enumerate(paintings):
        write_png(path, picture(40, 36, seed))
    options = {"vgg_weights": vgg, "crop": 32, "steps": 1, "style_size": 32}
    options["checkpoint_path"] = str(tmp_path / "runs")
    best = training.train_style(paintings, [tmp_path / "photos"], nb_epoch=1, **options)
    run = Run(best.parent)
    begun = run.settings()
    assert begun["styles"] == ["sea", "sky"] and begun["flags"]["crop"] == 32
    training.train_style(paintings, [tmp_path / "photos"], nb_epoch=2, run=run, **options)
    assert run.settings() == begun | {"flags": begun["flags"] | {"nb_epoch": 2}}
    assert len((run.folder / "history.csv").read_text().splitlines()) == 3
    (painted,) = paint([photos[0]], "sky", run.folder, tmp_path / "out", size=24)
    assert painted == tmp_path / "out" / "0_sky.png"
    assert read_image(painted).shape == (24, 24, 3)
    with pytest.raises(UserError, match="sky"):
        training.train_style(paintings[:1], [tmp_path / "photos"], run=run, **options)


def test_photos_to_validate_that_cannot_be_read(photos, tmp_path, monkeypatch, caplog):
    broken = tmp_path / "broken.heic"
    broken.write_bytes(b"no picture")
    run = Run.create(tmp_path / "runs", settings())
    run_training(photos, run, 1, validation=[broken, photos[0]])
    assert "broken.heic" in caplog.text
    sheet = read_image(run.folder / "previews" / "epoch_0001.png")
    assert np.array_equal(sheet[24:56, 4:36], picture(32, 32, 0))
    assert len(np.unique(sheet[24:56, 3 * 36 + 4 :])) == 1  # beside it there is no other
    monkeypatch.delattr(training, "learn_to_copy")  # it is found out before that
    with pytest.raises(UserError, match=r"broken\.heic"):
        run_training(photos, Run.create(tmp_path / "runs", {}), 1, validation=[broken])


@pytest.mark.slow  # what segmenters share is tested in tests/training
def test_an_interrupted_run_goes_on_to_the_same_weights(photos, tmp_path):
    whole, _ = run_training(photos, Run.create(tmp_path / "whole", {}), 3)
    run = Run.create(tmp_path / "parts", {})
    run_training(photos, run, 1)
    resumed, _ = run_training(photos, run, 3, resume=True)
    state = [np.load(next(p.glob("*/state.npz"))) for p in (tmp_path / "whole", tmp_path / "parts")]
    for name in state[0].files:
        if name != "progress":
            np.testing.assert_allclose(state[0][name], state[1][name], rtol=1e-3, atol=1e-5)
    for ours, theirs in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
    progress = json.loads(str(state[1]["progress"]))
    assert progress["epoch"] == 3 and len(progress["history"]) == 3
    with pytest.raises(UserError, match="--nb_epoch"):
        run_training(photos, run, 3, resume=True)


@pytest.mark.slow  # what segmenters share is tested in tests/training
def test_fewer_epochs_than_a_killed_run_has(photos, tmp_path):
    run = Run.create(tmp_path / "runs", {})

    class Killed(Exception):
        pass

    saved = Run.save_state

    def kill(self, model, progress):
        saved(self, model, progress)
        if progress.epoch == 2:
            raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Run, "save_state", kill)
        run_training(photos, run, 5)
    with pytest.raises(UserError, match="--nb_epoch"):
        run_training(photos, run, 1, resume=True)


def test_a_loss_that_is_no_number_ends_it(photos, tmp_path):
    def broken(photos, painted, mix):
        return tint(photos, painted, mix) | {"variation": keras.ops.mean(painted) * np.nan}

    with pytest.raises(UserError, match="epoch 1"):
        run_training(photos, Run.create(tmp_path / "runs", {}), 1, loss=broken)


@pytest.mark.slow  # what segmenters share is tested in tests/training
def test_a_validation_that_is_no_number_ends_it(photos, tmp_path):
    def broken(photos, painted, mix):
        white = keras.ops.mean(photos) > 254  # the photograph to validate alone
        return tint(photos, painted, mix) | {"variation": keras.ops.where(white, np.nan, 0.0)}

    white = tmp_path / "white.png"
    write_png(white, np.full((32, 32, 3), 255, np.uint8))
    run = Run.create(tmp_path / "runs", {})
    with pytest.raises(UserError, match="epoch 1, validation"):
        run_training(photos, run, 1, loss=broken, validation=[white])


def test_a_run_in_training_is_left_alone(photos, tmp_path, monkeypatch):
    run = Run.create(tmp_path / "runs", {})
    monkeypatch.delattr(training, "learn_to_copy")  # nothing is computed first
    with run.lock(), pytest.raises(UserError, match=run.folder.name):
        run_training(photos, run, 1)


@pytest.mark.slow  # what segmenters share is tested in tests/training
def test_only_the_best_checkpoint_is_kept(photos, tmp_path):
    run = Run.create(tmp_path / "runs", settings())
    _, best = run_training(photos, run, 3)
    assert [path.name for path in run.folder.glob("*.weights.h5")] == [best.name]
    progress = json.loads(str(np.load(run.folder / "state.npz")["progress"]))
    lowest = min(progress["history"], key=lambda row: row["val_loss"])
    assert best.name == f"{lowest['epoch']:04}-{lowest['val_loss']:.4f}.weights.h5"


def test_every_style_is_validated():
    two = [np.full((8, 8, 3), level, np.uint8) for level in (0, 9)]
    fixed = training.FixedBatches(two, styles=5, batch_size=2)
    mixes = np.concatenate([fixed[index][0]["mix"] for index in range(len(fixed))])
    assert np.array_equal(mixes, np.eye(5))


def test_fresh_weightslearn_to_copy_before_they_paint(photos, tmp_path, monkeypatch):
    class Copied(Exception):
        pass

    def copy(network, crops, lr):
        assert lr == 2e-3
        raise Copied

    monkeypatch.setattr(training, "learn_to_copy", copy)
    with pytest.raises(Copied):
        run_training(photos, Run.create(tmp_path / "runs", {}), 1)


def test_a_stable_network_is_preferred():
    """The weight of the stability counts, and the metric shows it."""
    network = transform_net.build(size="small", styles=1)
    images = np.stack([picture(32, 32, seed) for seed in (1, 2)]).astype(np.float32)
    inputs = {"image": images, "mix": np.ones((2, 1), np.float32)}
    still = {"moved": images, "shift": np.zeros((2, 2), np.int32)}
    lit = still | {"moved": images.max() - images}

    def loss(after, weight):
        trainer = training.PaintingTrainer(network, lambda *_: {"style": 0.5}, weight)
        trainer._means = trainer._means[1::2]  # style, stability
        painted = network(inputs)
        found = float(trainer.compute_loss(inputs, after, painted))
        assert float(trainer._means[1].result()) == pytest.approx(found - 0.5, abs=1e-6)
        return found

    assert loss(still, 10.0) == pytest.approx(0.5, abs=1e-6)
    assert loss(lit, 0.0) == 0.5
    assert loss(lit, 20.0) - 0.5 == pytest.approx(2 * (loss(lit, 10.0) - 0.5), rel=1e-3)
    assert loss(lit, 10.0) > 0.5001


def keeper(run, crops, photos, epoch=0):
    recipe = Recipe(epochs=9, ema=False)
    return training.PaintingCheckpointer(run, recipe, Progress(epoch=epoch), crops, photos, STYLES)


def test_each_epoch_has_crops_of_its_own(photos, tmp_path):
    crops = PhotoCrops(photos, 32, 2, 3, 2)
    keeper(Run(tmp_path), crops, []).on_epoch_begin(4)
    assert crops.epoch == 4


def test_previews_have_the_styles_in_the_order_of_their_names(tmp_path):
    def paint(inputs):
        return np.tile((inputs["mix"] @ TARGETS)[:, None, None], (1, 32, 32, 1))

    draws = keeper(Run(tmp_path), None, [picture(32, 32)], epoch=3)
    draws.set_model(SimpleNamespace(predict_on_batch=paint))
    draws.draw()
    sheet = read_image(tmp_path / "previews" / "epoch_0003.png")
    for place, colour in enumerate(TARGETS, 1):
        assert (sheet[24:56, 36 * place + 4 : 36 * place + 36] == colour).all()


def test_what_is_copied_are_the_photographs(photos):
    batches = []
    network = SimpleNamespace(
        compile=lambda *arguments, **options: None,
        train_on_batch=lambda inputs, targets: batches.append((inputs["image"], targets)),
    )
    training.learn_to_copy(network, PhotoCrops(photos, 32, 2, 3, 2), 1e-3)
    assert len(batches) == 2 and (batches[0][1] != batches[1][1]).any()
    assert all(np.array_equal(image, target) for image, target in batches)
