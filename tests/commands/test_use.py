"""Tests that one call scores, applies or exports a trained network."""

import json

import numpy as np
import pytest
import tiny_network
import tiny_portraits
import tiny_spec
from PIL import Image

from portrait.commands import use
from portrait.commands.batches import batches
from portrait.errors import UserError
from portrait.export import FilesRefused
from portrait.inference.network import load
from portrait.io.images import read_image
from portrait.models.build import build

pytestmark = pytest.mark.usefixtures("registered")
SIZE = (64, 32)
QUICK = {"augment": "none", "workers": 0, "batch_size": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with portraits in `data/training` and `data/testing`."""
    folder = tmp_path_factory.mktemp("use")
    tiny_portraits.write(folder / "data" / "training", 6, SIZE)
    tiny_portraits.write(folder / "data" / "testing", 3, (48, 40), seed=1)
    return folder


@pytest.fixture(scope="module")
def weights(folder):
    """A weights file of the tiny network, with its run.json."""
    path = folder / "net" / "net.weights.h5"
    path.parent.mkdir()
    tiny_network.build(SIZE).save_weights(path)
    flags = {"model": "tiny", "model_size": "big", "input_shape": "64x32"}
    (path.parent / "run.json").write_text(json.dumps({"flags": flags}))
    return path


@pytest.mark.parametrize("start", ["none", "imagenet"])
def test_initial_weights_of_trainings_are_no_trained_ones(start):
    """The shipped weights would be scored instead."""
    with pytest.raises(UserError, match=f"--start={start} is for a training"):
        use.trained("lite_unet", input_shape="32x32", start=start)


def test_scores_are_those_of_the_testing_pictures(folder, tmp_path):
    """If the alpha is 1 everywhere, the IoU is the person's share of the picture."""
    report = use.evaluate(
        lambda image: np.ones(image.shape[:2], np.float32), [folder / "data"], output=tmp_path
    )
    mattes = sorted((folder / "data" / "testing").glob("*_matte.png"))
    shares = [(np.asarray(Image.open(path)) >= 128).mean() for path in mattes]
    assert report["all"]["pictures"] == 3
    assert report["all"]["mean"]["person_iou"] == pytest.approx(np.mean(shares))
    assert json.loads((tmp_path / "evaluation.json").read_text()) == report


def test_weights_are_scored_by_their_path_or_loaded(folder, weights, tmp_path):
    by_path = use.evaluate(weights, [folder / "data"], output=tmp_path)
    loaded = use.evaluate(load(weights.parent), [folder / "data"], output=tmp_path)
    assert by_path["all"]["mean"] == pytest.approx(loaded["all"]["mean"], rel=1e-5)


def test_photos_get_alphas_and_cutouts(folder, weights, tmp_path):
    photo = folder / "data" / "testing" / "0000.png"
    alpha, cutout = use.predict(weights, [photo], output=tmp_path)
    assert (alpha.name, cutout.name) == ("0000_alpha.png", "0000_cutout.png")
    image = read_image(photo)
    expected = load(weights).matte(image)
    found = np.asarray(Image.open(alpha))
    assert np.abs(found - 255 * expected).max() <= 0.5 + 1e-3  # a byte's rounding
    (refined, _) = use.predict(weights, [photo], output=tmp_path / "refined", refine="guided")
    assert np.abs(np.asarray(Image.open(refined)) - 255 * expected).max() > 1


def test_an_exported_file_answers_as_the_weights_do(folder, weights, tmp_path):
    data = [folder / "data"]
    report = use.convert(weights, data=data, output=tmp_path, formats=["float32"])
    assert [file["format"] for file in report["files"]] == ["float32"]
    exported = load(tmp_path / "tiny_float32.tflite")
    image = read_image(folder / "data" / "testing" / "0000.png")
    # Sums in another order, in float32.
    assert exported.matte(image) == pytest.approx(load(weights).matte(image), abs=1e-5)
    with pytest.raises(UserError, match=r"tiny_float32\.tflite"):
        use.convert(tmp_path / "tiny_float32.tflite", data=data, output=tmp_path)


def test_a_file_for_android_takes_four_channels(folder, weights, tmp_path):
    use.convert(
        load(weights),
        data=[folder / "data"],
        output=tmp_path,
        tflite_name="mine",
        android=True,
        formats=["float32"],
    )
    assert load(tmp_path / "mine_rgba_float32.tflite").channels == 4


def test_a_network_is_made_smaller_by_training(folder, weights, tmp_path):
    data = [str(folder / "data")]
    report = use.compress(
        weights,
        "prune",
        *batches("tiny", data=data, **QUICK),
        data=data,
        output=tmp_path,
        formats=["float32"],
        epochs=1,
        sparsity=0.75,
    )
    assert report["compression"]["sparsity"] == 0.75
    assert (tmp_path / "tiny_pruned_float32.tflite").is_file()
    pruned = build("tiny", SIZE)
    pruned.load_weights(tmp_path / "tiny_pruned.weights.h5")
    (kernel, *_) = pruned.get_layer("down").get_weights()
    assert np.mean(kernel == 0) == pytest.approx(0.75, abs=1 / kernel.size)


def test_a_sheet_shows_training_pictures(folder, tmp_path):
    use.preview(tmp_path / "sheet.png", model="tiny", data=[folder / "data"], **QUICK)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > SIZE[1] and sheet.height > SIZE[0]


def test_the_network_of_a_name_has_the_weights_that_are_named(weights, tmp_path):
    network, path = use.trained("tiny", weight_dir=str(weights.parent))
    assert path == weights and network.input_shape == SIZE
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=r"tiny.*--weight_dir"):
        use.trained("tiny")  # none of its weights are shipped
    with pytest.raises(UserError, match=str(tmp_path / "none")):
        use.trained("tiny", weight_dir=str(tmp_path / "none"))


def test_a_start_that_is_a_whole_network_can_be_used_without_a_training(tmp_path, monkeypatch):
    start = tmp_path / "three"
    start.write_text("3")
    with pytest.raises(UserError, match=f"--start={start}"):
        use.trained("tiny", start=str(start))
    tiny_spec.register(monkeypatch, complete=True)
    network, path = use.trained("tiny", start=str(start))
    assert path == start
    assert np.asarray(network.keras.get_layer("output").bias).tolist() == [3]


def test_a_method_without_weights_is_a_function(folder):
    image = read_image(folder / "data" / "testing" / "0000.png")
    assert use.untrained("kmeans")(image).shape == image.shape[:2]


def test_an_export_that_refuses_files_does_not_stop_the_next():
    done = []

    def refuse():
        raise FilesRefused({"files": [{"file": "a.tflite", "kept": False}]})

    with pytest.raises(UserError, match=r"a\.tflite"):
        use.run_all([refuse, lambda: done.append("b.tflite")])
    assert done == ["b.tflite"]


def test_exports_of_a_run_go_into_its_folder(tmp_path):
    run, other = tmp_path / "0001-0.1000.weights.h5", tmp_path / "mine.weights.h5"
    assert use.export_folder(run, None) == tmp_path / "export"
    assert use.export_folder(run, "there").name == "there"
    assert use.export_folder(other, None).name == "output"
