"""Tests PortraitFCN+ with face detection, from training to a cut-out."""

import numpy as np
import pytest
import style_networks
import tiny_portraits

from portrait.commands import use
from portrait.commands.train import train
from portrait.errors import UserError
from portrait.inference.network import load
from portrait.models.baselines import faces


@pytest.mark.slow
def test_portrait_fcn_plus_from_training_to_cut_out(tmp_path):
    """It starts from a file of VGG16's weights, and its checkpoint holds the mean portrait."""
    data = tiny_portraits.write(tmp_path / "data", 8, (64, 32))
    weights = style_networks.random_vgg()
    np.savez(tmp_path / "vgg16.npz", **weights)
    best = train(
        "portrait_fcn_plus",
        input_shape="64x32",
        data=[data],
        start=str(tmp_path / "vgg16.npz"),
        lr=0,
        nb_epoch=1,
        augment="none",
        workers=0,
        checkpoint_path=tmp_path / "runs",
    )
    network = load(best)
    frame = network.keras.get_layer("face_frame")
    assert frame.mean_shape.shape == faces.GRID and np.asarray(frame.mean_shape).any()
    kernel, _ = network.keras.get_layer("block1_conv1").get_weights()
    # The first three channels are from the file, the others are zero.
    assert np.allclose(kernel[:, :, :3], weights["block1_conv1/kernel"])
    assert not kernel[:, :, 3:].any()
    report = use.evaluate(network, [data], output=tmp_path, refine="guided")
    assert report["all"]["pictures"] == 8
    _, cutout = use.predict(network, [data / "0000.png"], output=tmp_path)
    assert cutout.is_file()
    with pytest.raises(UserError, match="portrait_fcn_plus"):
        use.convert(network, data=[data], output=tmp_path, formats=["float32"])
