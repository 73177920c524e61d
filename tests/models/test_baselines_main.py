"""The baselines on the command line."""

import command_line
import numpy as np
import pytest
import tiny_portraits

from portrait.models import vgg16


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with eight pictures in `data`."""
    monkeypatch.chdir(tmp_path)
    tiny_portraits.write(tmp_path / "data", 8, (64, 32))
    return tmp_path


TRAIN = "--train=True --data=data --input_shape=64x32 --nb_epoch=1 --workers=0 --augment=none"


def test_vgg16_weights_that_are_not_there(here):
    status, _, err = command_line.run(
        *TRAIN.split(), "--model=cnn_resnet", "--vgg_weights=gone.npz"
    )
    assert status == 1
    assert err == "error: --vgg_weights: there is no file gone.npz\n"
    assert not (here / "trained_models").exists()


@pytest.mark.slow
def test_portrait_fcn_plus_from_training_to_cut_out(here):
    """Starts from a file of VGG16's weights, and its checkpoint holds the mean portrait."""
    weights = {name: np.full(shape, 0.01) for name, shape in vgg16._shapes().items()}
    np.savez(here / "vgg16.npz", **weights)
    status, out, _ = command_line.run(
        *TRAIN.split(),
        *("--model=portrait_fcn_plus", "--vgg_weights=vgg16.npz", "--lr=0"),
        *("--evaluate=True", "--refine=guided", "--predict=data/0000.png"),
    )
    assert status == 0
    assert "best checkpoint: trained_models/portrait_fcn_plus/" in out
    assert (here / "output" / "0000_cutout.png").is_file()
    (run,) = (here / "trained_models" / "portrait_fcn_plus").iterdir()
    with np.load(run / "state.npz") as state:
        shapes = {state[name].shape for name in state.files}
        assert (96, 80) in shapes
        kernels = [state[name] for name in state.files if state[name].shape == (3, 3, 6, 64)]
        # As the file has it, and nothing for the further channels.
        assert np.allclose(kernels[0][:, :, :3], 0.01) and not kernels[0][:, :, 3:].any()
    status, out, _ = command_line.run(
        "--evaluate=True",
        "--model=portrait_fcn_plus",
        "--data=data",
        f"--weight_dir={run}",
        "--input_shape=64x32",
    )
    assert status == 0
    status, _, err = command_line.run(
        "--convert=True",
        "--model=portrait_fcn_plus",
        "--data=data",
        f"--weight_dir={run}",
        "--input_shape=64x32",
    )
    assert status == 1 and err.startswith("error: portrait_fcn_plus cannot be exported")
