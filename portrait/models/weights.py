"""Finds weights files, identifies their network, and loads them."""

import csv
import json
import os
import re
import tempfile
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from portrait.errors import UserError, first_line
from portrait.io.files import replacing
from portrait.models.registry import SPECS

SHIPPED = Path(__file__).resolve().parents[2] / "trained_models"
"""The folder of the trained networks in the repository, with one folder per network."""
CHECKPOINT_NAME = re.compile(r"(\d+)-(\d+\.\d+)\.weights\.h5")

_MOST_BYTES = 2_000_000_000  # that the arrays of a file may take in memory
_GROUP_BYTES = 500_000  # counted for a group, so that endless ones end


def shipped_weights(name: str) -> Path:
    """The path of the weights in `SHIPPED` of a network, by its full name. It may not exist."""
    return SHIPPED / name / f"{name}.weights.h5"


def read_settings(folder: str | Path) -> dict:
    """Reads `run.json` in a folder: the flags and results of a training run.

    Raises:
        UserError: the file is missing or cannot be read.
    """
    path = Path(folder) / "run.json"
    try:
        settings = json.loads(path.read_text())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {first_line(error)}") from error
    if not isinstance(settings, dict) or not isinstance(settings.get("flags", {}), dict):
        raise UserError(f"{path} does not contain the settings of a training")
    return settings


def best_checkpoint(folder: str | Path) -> Path:
    """Finds the checkpoint with the lowest validation loss in a run's folder.

    Raises:
        UserError: there is no checkpoint.
    """
    # File names have only four digits of the loss, which can be equal for several epochs.
    exact = _losses(Path(folder) / "history.csv")
    found = {
        path: exact.get(int(match[1]), float(match[2]))
        for path in Path(folder).glob("*.weights.h5")
        if (match := CHECKPOINT_NAME.fullmatch(path.name))
    }
    if not found:
        runs = sorted(path.parent for path in Path(folder).glob("*/run.json"))
        advice = f": did you mean {runs[-1]}?" if runs else ""
        raise UserError(f"there is no EPOCH-VALLOSS.weights.h5 in {folder}{advice}")
    return min(sorted(found), key=found.get)


def _losses(history: Path) -> dict[int, float]:
    """The validation loss of each epoch; empty if the file is missing or is not a history."""
    try:
        with open(history, newline="") as file:
            return {int(row["epoch"]): float(row["val_loss"]) for row in csv.DictReader(file)}
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return {}


def weights_file(path: str | Path) -> Path:
    """Resolves `--weight_dir` to a weights file.

    Args:
        path: a weights file, also by its older name; a folder that contains one weights file; or
            a run's folder, for its best checkpoint.

    Raises:
        UserError: the folder contains no weights.
    """
    named = Path(path)
    if named.is_dir():
        files = list(named.glob("[!.]*.weights.h5"))
        return files[0] if len(files) == 1 else best_checkpoint(named)
    newer = named.with_name(named.name.removesuffix(".h5") + ".weights.h5")
    return newer if not named.is_file() and newer.is_file() else named


def network_of(weights: str | Path) -> dict[str, str]:
    """The network of a weights file: the flags `model`, `model_size` and `input_shape`.

    They are read from `run.json` in the same folder. Empty if that does not name a known network.
    """
    folder = Path(weights).resolve().parent
    if not (folder / "run.json").is_file():
        return {}
    found = read_settings(folder).get("flags", {})
    network = {key: found.get(key) for key in ("model", "model_size", "input_shape")}
    if not all(isinstance(each, str) for each in network.values()):
        return {}
    if network["model"] not in SPECS:
        return {}
    return network


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the arrays of an `.npz` file by name.

    Raises:
        UserError: the file does not exist, is damaged, or is not an `.npz` file.
    """
    if not Path(path).is_file():
        raise UserError(f"there is no weights file {path}")
    try:
        check_archive(path)
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    # zipfile, zlib and NumPy raise different exceptions for damaged files and other kinds of files.
    except Exception as error:
        raise UserError(f"{path} cannot be read as an .npz file: {first_line(error)}") from error


def check_archive(path: str | os.PathLike) -> None:
    """Raises ValueError if the arrays of an `.npz` file need more memory than any network does."""
    with zipfile.ZipFile(path) as archive:
        _check_bytes(sum(member.file_size for member in archive.infolist()))


def _check_hdf5(path: str | os.PathLike) -> None:
    """Raises ValueError if a file leads to other files, or its arrays need too much memory."""
    import h5py

    with h5py.File(path) as file:
        total, groups = 0, [file]
        while groups:
            group = groups.pop()
            for name in group:
                # A hard link may lead back to a group above it.
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise ValueError(f"{name} is a link")
                item = group[name]
                if isinstance(item, h5py.Group):
                    groups.append(item)
                    total += _GROUP_BYTES
                elif item.external or item.is_virtual:
                    raise ValueError(f"the values of {name} are in another file")
                else:
                    total += item.nbytes
                _check_bytes(total)


def _check_bytes(count: int) -> None:
    if count > _MOST_BYTES:
        raise ValueError(f"more than {_MOST_BYTES / 1e9:.0f} GB of arrays")


def average(model, shares: Mapping[str | os.PathLike, float], sharpen: float = 1.0) -> None:
    """Loads a weighted mean of trained weights into `model`.

    Weights of trainings with the same initial weights can be averaged. On new pictures, the mean is
    often better than each of the trained networks (Wortsman et al., 2203.05482). The statistics of
    batch normalisation are averaged like the weights, and not measured anew.

    Args:
        model: a network from `models.build.build`.
        shares: the share of each `.weights.h5` file; shares are divided by their sum.
        sharpen: a factor on the logit of the alpha. Factors above 1 move alphas away from 0.5,
            without changing the outline at 0.5.

    Raises:
        UserError: see `load_weights`; or `sharpen` is not 1, and the alpha of the network is not
            computed by one layer.
    """
    from portrait.models.rescale import balance, kernel_sizes

    mean, sizes = [0.0] * len(model.weights), None
    for path, share in shares.items():
        load_weights(model, path)
        # A training from trained weights may have changed the scale of some layers.
        balance(model, sizes := sizes or kernel_sizes(model))
        part = share / sum(shares.values())
        mean = [sum_ + part * each for sum_, each in zip(mean, model.get_weights(), strict=True)]
    model.set_weights(mean)
    if sharpen == 1.0:
        return
    head = next((each for each in model.layers if each.name == "output" and each.weights), None)
    if head is None:  # the refiner, the ensemble
        raise UserError(f"{model.name} has no single layer of logits: sharpen must be 1")
    *others, kernel, bias = head.get_weights()
    head.set_weights([*others, sharpen * kernel, sharpen * bias])


def save_float16(model, path: str | os.PathLike) -> None:
    """Saves `.weights.h5` with large kernels in float16, which halves the file.

    Exported float16 files have the same precision. `load_weights` reads both kinds of files.

    Args:
        model: a network whose weights are below 65,504, as in all networks that phones can use.
        path: the new file.
    """
    import h5py

    path = Path(path)
    with replacing(path) as part, tempfile.TemporaryDirectory() as folder:
        model.save_weights(full := Path(folder) / "full.weights.h5")
        with h5py.File(full) as source, h5py.File(part, "w") as target:

            def copy(name: str, item) -> None:
                if not isinstance(item, h5py.Dataset):
                    target.require_group(name).attrs.update(item.attrs)
                elif item.ndim > 1 and item.size > 1000:  # small ones need the precision
                    target[name] = item[()].astype(np.float16)
                else:
                    target[name] = item[()]

            source.visititems(copy)


def load_weights(model, path: str | os.PathLike) -> None:
    """Loads `.weights.h5` (or an older Keras's `.h5`) into `model`.

    Raises:
        UserError: the file does not exist, is damaged, or contains the weights of another network.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no weights file {path}")
    try:
        with warnings.catch_warnings(action="ignore"):  # Keras warns about each layer
            _check_hdf5(path)
            model.load_weights(path)
    # h5py and Keras raise many different exceptions for damaged files.
    except Exception as error:
        reason = first_line(error)[:200]
        reason = reason.partition(" Example error message")[0]  # Keras appends several lines
        raise UserError(f"{path} does not contain the weights of {model.name}: {reason}") from error
