"""Tests the choice of weights, their network, and the shipped weights."""

import json
import pickle
import re
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tiny_network
from project import ROOT

from portrait.errors import UserError
from portrait.models.build import build
from portrait.models.registry import SPECS, full_name, parse_input_shape
from portrait.models.weights import (
    average,
    best_checkpoint,
    load_weights,
    network_of,
    read_arrays,
    save_float16,
    shipped_weights,
    weights_file,
)

SHIPPED = sorted((ROOT / "trained_models").glob("*/*.weights.h5"))


@pytest.fixture
def checkpoints(tmp_path):
    """A folder with checkpoints, an incomplete one, and other weights."""
    for name in "0001-0.9", "0010-0.09", "0012-0.1", "0099-nan", ".0100-0.01.part", "mine":
        (tmp_path / f"{name}.weights.h5").touch()
    return tmp_path


def test_the_best_checkpoint_has_the_lowest_loss_in_its_name(checkpoints):
    assert best_checkpoint(checkpoints).name == "0010-0.09.weights.h5"
    assert weights_file(checkpoints) == best_checkpoint(checkpoints)


def test_the_history_decides_between_equal_names(checkpoints):
    (checkpoints / "0041-0.09.weights.h5").touch()
    (checkpoints / "history.csv").write_text("epoch,val_loss\n10,0.0904\n41,0.0903\n")
    assert best_checkpoint(checkpoints).name == "0041-0.09.weights.h5"
    (checkpoints / "history.csv").write_bytes(b"epoch,val_loss\n10,\xff\n41\n")  # not readable
    assert best_checkpoint(checkpoints).name == "0010-0.09.weights.h5"


def test_a_folder_without_checkpoints(tmp_path):
    with pytest.raises(UserError, match=str(tmp_path)):
        weights_file(tmp_path)
    run = tmp_path / "20260131"
    run.mkdir()
    (run / "run.json").write_text("{}")
    with pytest.raises(UserError, match=str(run)):  # what may be meant
        weights_file(tmp_path)


def test_the_only_weights_of_a_folder_and_the_newer_name(tmp_path):
    only = tmp_path / "net.weights.h5"
    only.touch()
    (tmp_path / ".net-01234567.part.weights.h5").touch()
    assert weights_file(tmp_path) == weights_file(tmp_path / "net.h5") == only
    assert weights_file(tmp_path / "other.h5") == tmp_path / "other.h5"


def test_run_json_says_the_network(tmp_path):
    weights = tmp_path / "net.weights.h5"
    assert network_of(weights) == {}
    network = {"model": "selfie_net", "model_size": "deep", "input_shape": "256x256"}
    for flags, expected in ((network | {"lr": 0.1}, network), ({"model": "unet"}, {}), ({}, {})):
        (tmp_path / "run.json").write_text(json.dumps({"flags": flags}))
        assert network_of(weights) == expected
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UserError, match=str(tmp_path / "run.json")):
        network_of(weights)


@pytest.mark.parametrize("weights", SHIPPED, ids=lambda path: path.parent.name)
def test_shipped_weights_say_their_network_as_their_folder_and_their_card_do(weights):
    network = network_of(weights)
    folder = weights.parent.name
    assert full_name(network["model"], network["model_size"]) == folder
    assert folder in SPECS[network["model"]].names
    assert shipped_weights(folder).resolve() == weights
    title = (weights.parent / "README.md").read_text().splitlines()[0]
    (trained,) = re.findall(r"(\d+)x(\d+)$", title)
    assert parse_input_shape(network["input_shape"]) == tuple(map(int, trained))


def test_a_mean_of_weights(tmp_path):
    """One part of the first, three of the second; then logits twice as large."""
    files, networks = [], [tiny_network.build(seed=seed) for seed in (1, 2)]
    for number, network in enumerate(networks):
        files.append(tmp_path / f"{number}.weights.h5")
        network.save_weights(files[-1])
    model = tiny_network.build(seed=3)
    average(model, dict(zip(files, (1, 3), strict=True)))
    first, second = (network.get_weights() for network in networks)
    for found, one, other in zip(model.get_weights(), first, second, strict=True):
        np.testing.assert_allclose(found, one / 4 + 3 * other / 4, rtol=1e-5, atol=1e-7)

    pictures = tiny_network.pictures().astype(np.float32)
    before = np.asarray(model(pictures)["output"], np.float64)
    average(model, dict(zip(files, (1, 3), strict=True)), sharpen=2)
    after = np.asarray(model(pictures)["output"])
    odds = (before / (1 - before)) ** 2
    np.testing.assert_allclose(after, odds / (1 + odds), atol=1e-5)


def test_a_mean_of_weights_of_other_scales(tmp_path):
    """A network without normalisation, once more with a small kernel and a large one after it."""
    keras.backend.clear_session()  # for the names of the layers
    model = build("mattingnet", (32, 32), "small")
    model.save_weights(tmp_path / "a.weights.h5")
    expected = model.get_weights()
    for name, factor in [("conv2d", 2.0**-6), ("conv2d_5", 2.0**6), ("conv2d_transpose_4", 2.0**6)]:
        layer = model.get_layer(name)
        kernel, *bias = layer.get_weights()
        layer.set_weights([factor * kernel, *bias])
    model.save_weights(tmp_path / "b.weights.h5")
    average(model, {tmp_path / "a.weights.h5": 0.5, tmp_path / "b.weights.h5": 0.5})
    for found, wanted in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


class Spy:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_means_of_a_network_without_a_layer_of_logits(tmp_path):
    model = build("refiner", (16, 16))
    for name in ("a", "b"):
        model.set_weights([np.full_like(each, ord(name)) for each in model.get_weights()])
        model.save_weights(tmp_path / f"{name}.weights.h5")
    shares = {tmp_path / "a.weights.h5": 0.5, tmp_path / "b.weights.h5": 0.5}
    average(model, shares)
    assert all((each == 97.5).all() for each in model.get_weights())
    with pytest.raises(UserError, match=r"refiner.*sharpen"):
        average(model, shares, sharpen=2)


def test_archives_run_nothing_and_are_bounded(tmp_path):
    np.savez(tmp_path / "code.npz", kernel=np.array([Spy(tmp_path / "ran")], object))
    np.savez(tmp_path / "bomb.npz", kernel=np.zeros(3))
    with zipfile.ZipFile(tmp_path / "bomb.npz", "a") as archive:
        archive.writestr("more", b"")
        archive.infolist()[0].file_size = 2_100_000_000  # as 2 MB of packed zeros would say
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Spy(tmp_path / "ran")))
    for name in ("code.npz", "bomb.npz", "pickle.npz"):
        with pytest.raises(UserError, match=name) as error:
            read_arrays(tmp_path / name)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_weights_that_lead_elsewhere_are_refused(tmp_path):
    model = tiny_network.build()
    whole = tmp_path / "whole.weights.h5"
    model.save_weights(whole)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = np.zeros(3)

    def external(file):
        file["x"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "x")

    def stored_elsewhere(file):
        place = [(str(tmp_path / "other.h5"), 0, 12)]
        file.create_dataset("x", (3,), "f4", external=place)

    def virtual(file):
        layout = h5py.VirtualLayout((3,), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (3,))
        file.create_virtual_dataset("x", layout)

    def huge(file):
        file.create_dataset("x", (1 << 20, 1 << 10), "f4", chunks=(1024, 1024))

    def circular(file):
        file["layers/x"] = file["layers"]

    for spoil in (external, stored_elsewhere, virtual, huge, circular):
        path = tmp_path / f"{spoil.__name__}.weights.h5"
        path.write_bytes(whole.read_bytes())
        with h5py.File(path, "r+") as file:
            spoil(file)
        with pytest.raises(UserError, match=path.name) as error:
            load_weights(model, path)
        assert "\n" not in str(error.value)
    load_weights(model, whole)


def test_float16_files_are_half_as_large_and_read_like_others(tmp_path):
    keras.utils.set_random_seed(0)
    model = build("selfie_net", (64, 64))
    model.save_weights(tmp_path / "full.weights.h5")
    save_float16(model, tmp_path / "half.weights.h5")
    full, half = ((tmp_path / f"{name}.weights.h5").stat().st_size for name in ("full", "half"))
    assert half < 0.7 * full
    fresh = build("selfie_net", (64, 64))
    load_weights(fresh, tmp_path / "half.weights.h5")
    for old, new in zip(model.weights, fresh.weights, strict=True):
        assert new.dtype == "float32"
        assert np.asarray(new) == pytest.approx(np.asarray(old), rel=2**-11, abs=2**-25), old.path
    small = model.get_layer("normalize").get_weights()[0]
    assert np.array_equal(fresh.get_layer("normalize").get_weights()[0], small)
