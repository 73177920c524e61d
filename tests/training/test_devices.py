"""Tests that several devices and hosts train like one device, and their error messages."""

import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tiny_portraits
from project import ROOT

from portrait.errors import UserError
from portrait.models import registry
from portrait.training.devices import Layout
from portrait.training.last_words import FATAL

needs_jax = pytest.mark.skipif(
    find_spec("jax") is None, reason="no JAX: pip install -r requirements-cluster.txt"
)
HOSTS = ("10.0.0.1:9876", "10.0.0.2:9876")


@pytest.mark.parametrize(
    ("layout", "backend", "named"),
    [
        (Layout(hosts=HOSTS), "tensorflow", ("--hosts", "KERAS_BACKEND=jax", "requirements-")),
        (Layout(hosts=HOSTS), "torch", ("--hosts", "KERAS_BACKEND=jax")),
        (Layout(2), "torch", ("--devices", "KERAS_BACKEND=jax")),
        (Layout(hosts=("10.0.0.1",)), "jax", ("--hosts=10.0.0.1", "PORT")),
        (Layout(hosts=HOSTS, host=2), "jax", ("--host=2",)),
        (Layout(3), "tensorflow", ("--batch_size=32", "3 devices", "30", "33")),
        (Layout(20, hosts=HOSTS), "jax", ("40 devices", "use 40")),
    ],
)
def test_what_cannot_be_done_is_one_line(layout, backend, named, monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: backend)
    with pytest.raises(UserError) as error:
        layout.check(32)
    assert "\n" not in str(error.value)
    assert all(text in str(error.value) for text in named)


def test_the_parts_of_hosts():
    layout = Layout(4, HOSTS, 1)
    layout_of_one = Layout(4)
    assert (layout.total, layout.share, layout.leads) == (8, (1, 2), False)
    assert (layout_of_one.total, layout_of_one.share, layout_of_one.leads) == (4, (0, 1), True)
    layout_of_one.check(8)


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        (["a warning"], ["a warning"]),
        (["1/2", f"F1129 12:00 client.h:80] {FATAL} ...", "    @ 0x7f"], ["1/2", "error: gone"]),
        (["error: another host", f"F1129 {FATAL}", "@ 0x"], ["error: another host"]),
    ],
)
def test_a_stack_trace_of_jax_becomes_one_line(lines, shown):
    script = ROOT / "portrait" / "training" / "last_words.py"
    given = "\n".join([*lines, ""])
    ended = subprocess.run(
        [sys.executable, script, "gone"], input=given, capture_output=True, text=True, timeout=60
    )
    assert (ended.stdout, ended.stderr.splitlines()) == ("", shown)


def devices_equal(folder: Path, backend: str, networks: list[str]) -> None:
    """Trains on one and on two devices, and compares weights, statistics and history."""
    tiny_portraits.write(folder / "data", 35, (64, 32))
    runs = [f"{network}:{count}" for network in networks for count in (1, 2)]
    script = ROOT / "tests" / "helpers" / "many_devices.py"
    subprocess.run([sys.executable, script, folder, *runs], env=environment(backend), check=True)
    for network in networks:
        name, size, _ = network.split(":")
        one, two = (np.load(state_of(folder / f"{name}-{size}-{count}")) for count in (1, 2))
        trained = np.load(folder / f"{name}-{size}-trained.npy")
        weights_equal(one, two, trained)
        # 15 pictures validate: of the 16 on two devices, one counts nothing. Left out are the time
        # and the losses of single outputs, in which Keras weighs all batches alike on TensorFlow.
        rows = [json.loads(str(each["progress"]))["history"][0] for each in (one, two)]
        for row in rows:
            for name in ("seconds", *[name for name in row if name.endswith(("n_loss", "t_loss"))]):
                del row[name]
            assert {"loss", "val_loss", "val_output_mad", "val_output_person_iou"} <= row.keys()
        # Rounding moves single pixels over the threshold of the IoU.
        assert rows[1] == pytest.approx(rows[0], rel=5e-4), network


def weights_equal(one, two, trained: np.ndarray) -> None:
    """Compares two files of `save_state`; `trained` says which weights are no statistics."""
    assert one.files == two.files
    keys = [key for key in one.files if key.startswith("weight")]
    for key, is_trained in zip(keys, trained, strict=True):
        # In Fast-SCNN, rounding grows from one batch normalisation over few values to the next.
        # The statistics show it: they differ by up to 3e-4 of their norm, the weights by 1e-6.
        allowed = 1e-5 if is_trained else 1e-5 + 1e-3 * np.linalg.norm(one[key])
        assert np.abs(two[key] - one[key]).max() < allowed, key
    # The steps are small, so the means of the gradients and of their squares say more. The
    # optimizer keeps them after its averages of the weights. For Fast-SCNN, they differ by 5 %.
    # The sum of the devices' gradients in place of their mean would differ by 100 %.
    moments = [key for key in one.files if key.startswith("optimizer") and one[key].ndim]
    ours, theirs = (
        np.concatenate([each[key].ravel() for key in moments[trained.sum() :]])
        for each in (two, one)
    )
    assert np.linalg.norm(ours - theirs) < 0.1 * np.linalg.norm(theirs)


def state_of(runs: Path) -> Path:
    (state,) = runs.glob("*/state.npz")
    return state


def environment(backend: str, **more: str) -> dict[str, str]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "helpers")])
    return os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": paths} | more


@needs_jax
@pytest.mark.slow
def test_two_devices_of_jax_train_like_one(tmp_path):
    devices_equal(tmp_path, "jax", ["tiny:big:64x32"])


@pytest.mark.slow
def test_two_devices_of_tensorflow_train_like_one(tmp_path):
    devices_equal(tmp_path, "tensorflow", ["tiny:big:64x32"])


@needs_jax
@pytest.mark.slow
@pytest.mark.parametrize("name", ["mattingnet", "fast_scnn", "lite_unet", "selfie_net"])
def test_every_family_trains_on_two_devices_like_on_one(tmp_path, name):
    size = "small" if "small" in registry.find(name).sizes else "big"
    devices_equal(tmp_path, "jax", [f"{name}:{size}:64x64"])


# Two hosts on the loopback address of this machine.
def addresses() -> str:
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(("127.0.0.1", 0))
        return ",".join(f"127.0.0.1:{each.getsockname()[1]}" for each in (first, second))


def hosts_start(folder: Path, *flags: str) -> list[subprocess.Popen]:
    """Starts `main.py` with the flags on two hosts, as a user would."""
    hosts = addresses()
    return [main(folder, host, f"--hosts={hosts}", f"--host={host}", *flags) for host in (0, 1)]


def main(folder: Path, log: object, *flags: str) -> subprocess.Popen:
    command = [sys.executable, ROOT / "tests" / "helpers" / "tiny_main.py", *flags]
    out = open(folder / f"{log}.log", "w")  # noqa: SIM115 (the process has it)
    jax_on_cpu = environment("jax", JAX_PLATFORMS="cpu")
    return subprocess.Popen(command, cwd=ROOT, env=jax_on_cpu, stdout=out, stderr=out)


def options(folder: Path, runs: str) -> list[str]:
    return [
        *("--train=True", "--model=tiny", "--input_shape=32x32", "--start=none"),
        *("--batch_size=4", "--nb_epoch=3", "--augment=none", "--workers=1", "--val_ratio=0.7"),
        *(f"--data={folder / 'data'}", f"--checkpoint_path={folder / runs}"),
    ]


def history(runs: Path) -> list[dict[str, float]]:
    (file,) = runs.glob("*/history.csv")
    with open(file, newline="") as rows:
        return [
            {k: float(v) for k, v in row.items() if k != "seconds"} for row in csv.DictReader(rows)
        ]


@needs_jax
@pytest.mark.slow
def test_a_host_that_dies_ends_the_other_and_one_device_goes_on(tmp_path):
    tiny_portraits.write(tmp_path / "data", 35, (32, 32))
    whole = main(tmp_path, "whole", *options(tmp_path, "whole"))
    assert whole.wait(600) == 0, (tmp_path / "whole.log").read_text()

    first, second = hosts_start(tmp_path, *options(tmp_path, "killed"))
    deadline = time.monotonic() + 600
    while not list(tmp_path.glob("killed/*/state.npz")):
        assert first.poll() is None and second.poll() is None, (tmp_path / "0.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    second.send_signal(signal.SIGKILL)
    assert first.wait(300) != 0
    told = (tmp_path / "0.log").read_text()
    # TensorFlow logs its own lines, such as "E0000 ... CUDA error", where there is no GPU.
    ours = [line for line in told.splitlines() if not re.match(r"[IWE]\d{4} ", line)]
    errors = [line for line in ours if "rror" in line]
    assert len(errors) == 1 and errors[0].startswith("error: ") and "--resume" in errors[0], told
    assert "0x" not in told
    assert "loss" not in (tmp_path / "1.log").read_text()  # host 0 prints the epochs

    resume = ("--resume=True", f"--checkpoint_path={tmp_path / 'killed'}", "--workers=0")
    assert main(tmp_path, "resumed", *resume).wait(600) == 0, (tmp_path / "resumed.log").read_text()
    for ours, theirs in zip(history(tmp_path / "killed"), history(tmp_path / "whole"), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)
    assert not list((tmp_path / "killed").rglob(".*"))
