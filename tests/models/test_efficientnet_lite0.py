"""EfficientNet-Lite0's weights: the file's format, and that they are in their places."""

import io
import os
import pickle
import struct
import sys
import types
from importlib.util import find_spec

import cv2
import keras
import numpy as np
import pytest
from skimage import data

from portrait.errors import UserError
from portrait.models import lite_unet
from portrait.models.layers import normalize
from portrait.models.start import efficientnet_lite0

# What `lite_unet` leaves out of the network; ImageNet's house cats; its espresso.
LATER_STAGE, LATER_EXPANSION = (320, 3, 1, 1), 6
CATS, ESPRESSO = {281, 282, 283, 284, 285}, {967}


class Tensor:
    """Pickles as PyTorch's tensors do: a call on a storage, whose numbers come later."""

    def __init__(self, array: np.ndarray):
        self.array = array

    def __reduce__(self):
        steps = tuple(step // self.array.itemsize for step in self.array.strides)
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        return rebuild, (Storage(self.array), 0, self.array.shape, steps, False, {})


class Storage:
    def __init__(self, array: np.ndarray):
        self.array = array


class Pickler(pickle.Pickler):
    def persistent_id(self, found):
        if isinstance(found, Storage):
            kind = sys.modules["torch"].FloatStorage
            return "storage", kind, str(id(found.array)), "cpu", found.array.size, None
        return None


@pytest.fixture
def old_torch_file(monkeypatch, tmp_path):
    """Writes arrays as PyTorch did before 1.6, to the file that it returns."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})

    def _rebuild_tensor_v2():
        """Only its name is written."""

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)

    def write(arrays: dict[str, np.ndarray]):
        file = io.BytesIO()
        for head in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(head, file, protocol=2)
        Pickler(file, protocol=2).dump({name: Tensor(array) for name, array in arrays.items()})
        pickle.dump([str(id(array)) for array in arrays.values()], file, protocol=2)
        for array in arrays.values():
            file.write(struct.pack("<q", array.size) + array.tobytes("A"))
        path = tmp_path / "weights.pth"
        path.write_bytes(file.getvalue())
        return path

    return write


def test_tensors_are_read_without_pytorch(old_torch_file):
    rng = np.random.default_rng(0)
    arrays = {
        "rows": rng.normal(size=(4, 3)).astype(np.float32),
        "columns": np.asfortranarray(rng.normal(size=(4, 3)).astype(np.float32)),
        "one": np.float32([7]),
    }
    path = old_torch_file(arrays)
    found = efficientnet_lite0.read_weights(path)
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert np.array_equal(found[name], array)
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="does not hold EfficientNet-Lite0's weights"):
            efficientnet_lite0.read_weights(path)


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil",)


def test_other_files(tmp_path, old_torch_file):
    with pytest.raises(UserError, match=r"no weights file .*gone\.pth"):
        efficientnet_lite0.read_weights(tmp_path / "gone.pth")
    path = tmp_path / "evil.pth"
    path.write_bytes(b"".join(pickle.dumps(Evil(), protocol=2) for _ in range(4)))
    with pytest.raises(UserError, match=r"unexpected \w+\.system"):
        efficientnet_lite0.read_weights(path)
    for foreign in ([1, 2], {"a": 1}, {"epoch": 3, "state": {}}):
        path.write_bytes(b"".join(pickle.dumps(each, protocol=2) for each in (0, 0, 0, foreign)))
        with pytest.raises(UserError, match=r"evil.pth does not hold EfficientNet-Lite0's weights"):
            efficientnet_lite0.read_weights(path)
    path.write_bytes(np.random.default_rng(0).bytes(1000))
    with pytest.raises(UserError, match=r"evil.pth does not hold EfficientNet-Lite0's weights"):
        efficientnet_lite0.read_weights(path)
    model = lite_unet.build((64, 64))
    with pytest.raises(UserError, match="not the weights of EfficientNet-Lite0"):
        efficientnet_lite0.load_into(
            model, efficientnet_lite0.read_weights(old_torch_file({"one": np.float32([7])}))
        )


def test_only_lite_unet_starts_from_it():
    image = keras.Input((8, 8, 3))
    other = keras.Model(image, keras.layers.Conv2D(1, 1)(image))
    assert efficientnet_lite0.uses_lite0(
        lite_unet.build((64, 64))
    ) and not efficientnet_lite0.uses_lite0(other)


@pytest.mark.skipif(
    find_spec(efficientnet_lite0.PACKAGE) is None, reason=f"no {efficientnet_lite0.PACKAGE} here"
)
def test_with_the_rest_of_the_network_it_knows_a_cat_and_a_coffee(monkeypatch):
    """The encoder as it is, EfficientNet-Lite0's last stage, and its classifier."""
    stages = (*lite_unet.STAGES, LATER_STAGE)
    expansions = (*lite_unet.EXPANSIONS["big"], LATER_EXPANSION)
    monkeypatch.setattr(lite_unet, "STAGES", stages)
    monkeypatch.setattr(efficientnet_lite0, "STAGES", stages)
    monkeypatch.setitem(efficientnet_lite0.EXPANSIONS, "big", expansions)
    blocks = lite_unet._Blocks(keras)
    image = keras.Input((224, 224, 3))
    x = blocks.conv(
        normalize(image, keras, lite_unet.MEAN, lite_unet.STD), 32, kernel=3, stride=2, name="stem"
    )
    for number, expansion in enumerate(expansions, start=1):
        x = blocks.stage(x, number, expansion)
    x = keras.layers.GlobalAveragePooling2D()(blocks.conv(x, 1280, name="head"))
    model = keras.Model(image, keras.layers.Dense(1000, name="classes")(x))
    weights = efficientnet_lite0.read_weights()
    efficientnet_lite0.load_into(model, weights)
    model.get_layer("head").set_weights([weights["_conv_head.weight"].transpose(2, 3, 1, 0)])
    norm = ("weight", "bias", "running_mean", "running_var")
    model.get_layer("head_norm").set_weights([weights[f"_bn1.{part}"] for part in norm])
    model.get_layer("classes").set_weights([weights["_fc.weight"].T, weights["_fc.bias"]])
    for photo, classes in (data.chelsea(), CATS), (data.coffee(), ESPRESSO):
        height, width = photo.shape[:2]
        left = (width - height) // 2
        square = cv2.resize(
            photo[:, left : left + height], (224, 224), interpolation=cv2.INTER_AREA
        )
        scores = np.asarray(model(square[np.newaxis].astype(np.float32)))[0]
        assert int(scores.argmax()) in classes
