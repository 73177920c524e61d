"""Tests pruning and clustering with a very small network."""

import json

import numpy as np
import pytest
import tiny_network

import main
from portrait.errors import UserError
from portrait.export.compress import bridge, compress
from portrait.export.compress.compress import Plan
from portrait.export.samples import Samples
from portrait.models.weights import load_weights
from portrait.tflite import graph


@pytest.fixture(scope="module")
def pictures():
    return tiny_network.pictures(6)


@pytest.fixture(scope="module")
def sequence(pictures):
    return tiny_network.own_alphas(pictures)


@pytest.fixture
def samples(sequence):
    return Samples(sequence.images, sequence.images, sequence.mattes, "a portrait of scikit-image")


@pytest.fixture
def network():
    return bridge.twin(tiny_network.build())


def kernel(network, name: str) -> np.ndarray:
    return network.get_layer(name).get_weights()[0]


def large_kernels(network) -> list[np.ndarray]:
    return [kernel(network, name) for name in ("down", "separable.pointwise", "up")]


def test_pruning(network, sequence):
    pruned = compress.prune(network, sequence, sequence, Plan("prune", 30, sparsity=0.8))
    for large in large_kernels(pruned):
        assert np.mean(large == 0) == pytest.approx(0.8, abs=1 / large.size)
    before, after = kernel(network, "stem"), kernel(pruned, "stem")
    assert not (after == 0).any()  # 216 weights are too few for pruning
    assert np.abs(after - before).max() > 1e-6  # but trained
    np.testing.assert_array_equal(kernel(pruned, "normalize"), kernel(network, "normalize"))


def test_pruning_takes_the_smallest(network, sequence):
    before = kernel(network, "down")
    plan = Plan("prune", 1, lr=0.0, sparsity=0.25)  # two steps are too few to learn
    after = kernel(compress.prune(network, sequence, sequence, plan), "down")
    assert np.mean(after == 0) == 0.25
    np.testing.assert_array_equal(after[after != 0], before[after != 0])
    assert np.abs(before[after == 0]).max() <= np.abs(after[after != 0]).min()


def test_clustering(network, sequence, clusters=16):
    clustered = compress.cluster(network, sequence, sequence, Plan("cluster", 2, clusters=clusters))
    for large in large_kernels(clustered):
        assert clusters / 2 < len(np.unique(large)) <= clusters
    assert len(np.unique(kernel(clustered, "stem"))) == 216
    gamma, _, _, variance = network.get_layer("norm").get_weights()
    merged = kernel(network, "down") * gamma / np.sqrt(variance + 1e-3)
    assert np.abs(kernel(clustered, "down") - merged).max() <= np.ptp(merged) / 4


def test_a_clustered_file_has_these_values_still(sequence, samples, tmp_path):
    """Although the converter merges the batch normalisation into the kernel."""
    compress.compress(
        tiny_network.build(),
        sequence,
        sequence,
        Plan("cluster", 1, clusters=16),
        tmp_path,
        "net",
        samples,
        formats=["float32"],
    )
    model = graph.parse((tmp_path / "net_clustered_float32.tflite").read_bytes())
    large = [
        np.unique(np.frombuffer(bytes(buffer.data), "<f4"))
        for buffer in model.buffers
        if buffer.data is not None and len(buffer.data) >= 4 * 2000
    ]
    assert len(large) == 3
    assert all(len(values) <= 16 for values in large)


def test_pruned_files(sequence, samples, tmp_path, capsys):
    model = tiny_network.build()
    report = compress.compress(
        model,
        sequence,
        sequence,
        Plan("prune", 1, sparsity=0.75),
        tmp_path,
        "net.tflite",
        samples,
        formats=["float32", "mlpackage_float32"],
    )
    assert report["compression"]["sparsity"] == 0.75
    assert report["compression"]["given_person_iou"] == 1.0
    assert f"{tmp_path / 'net_pruned'}_*" in capsys.readouterr().out
    stored = {path.name for path in tmp_path.iterdir()}
    assert {"net_pruned_float32.tflite", "net_pruned_float32.mlpackage"} <= stored
    assert json.loads((tmp_path / "net_pruned_export.json").read_text()) == report
    plain, core_ml = report["files"]
    # Three quarters of most weights are zeros, which deflate stores in few bytes.
    assert plain["zipped_bytes"] < 0.65 * plain["bytes"]
    assert plain["kept"] and core_ml["kept"]
    again = tiny_network.build(seed=1)
    load_weights(again, tmp_path / "net_pruned.weights.h5")
    for mine, its in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(its, mine)
    assert np.mean(again.get_layer("down").get_weights()[0] == 0) == 0.75


def test_the_flag_has_these_ways():
    assert set(main.FLAGS["compress"].parser.enum_values) == compress.SUFFIXES.keys()


def test_what_users_get_wrong(sequence, samples, tmp_path):
    for wrong in ({"sparsity": 1.0}, {"sparsity": 0.0}, {"clusters": 1}, {"clusters": 257}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            Plan("prune", **wrong)
    model = tiny_network.build()
    with pytest.raises(UserError, match=r"int8.*uint8.*float16"):
        compress.compress(
            model,
            sequence,
            sequence,
            Plan("qat"),
            tmp_path,
            "net",
            samples,
            formats=["int8", "float16"],
        )
    with pytest.raises(UserError, match="lower --lr"):
        compress.compress(
            model,
            sequence,
            sequence,
            Plan("prune", 20, lr=1e30),
            tmp_path,
            "net",
            samples,
        )
    assert not [*tmp_path.iterdir()]
