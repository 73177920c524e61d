"""Training on several devices and hosts: every device has the network and a share of each batch.

On JAX, `keras.distribution.DataParallel` makes the devices of all hosts compute as one: gradients
and the statistics of batch normalisation are those of the whole batch. On TensorFlow,
`MirroredStrategy` does the same for the devices of one machine, if batch normalisation is
synchronised.

Every host runs the same program and holds the same state. Host 0 keeps the run's folder; the others
work in a temporary one. Data loaders fork their workers before `started`, because JAX's threads do
not survive a fork; therefore the number of devices is an argument and not a question to JAX.
"""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import keras
import numpy as np

from portrait.backend import mirrored
from portrait.cli import is_out_of_memory
from portrait.errors import UserError
from portrait.training import last_words
from portrait.training.run import Run

REQUIREMENTS = "pip install -r requirements-cluster.txt"
_JAX = f"KERAS_BACKEND=jax python main.py ... (after {REQUIREMENTS})"


@dataclass(frozen=True)
class Layout:
    """The devices that train, and the place of this host.

    Attributes:
        devices: the number of devices of each host.
        hosts: the addresses of all hosts, HOST:PORT; empty: only this host.
        host: the place of this host in `hosts`.
    """

    devices: int = 1
    hosts: tuple[str, ...] = ()
    host: int = 0

    @property
    def share(self) -> tuple[int, int]:
        """(index, number): the part of each batch that this host makes."""
        return self.host, max(1, len(self.hosts))

    @property
    def total(self) -> int:
        """The number of devices of all hosts."""
        return self.devices * self.share[1]

    @property
    def leads(self) -> bool:
        """Whether this host keeps the run's folder."""
        return self.host == 0

    def check(self, batch_size: int) -> None:
        """Checks the layout before pictures are read.

        Raises:
            UserError: the backend does not support it, the hosts are invalid, or the batch size is
                not a multiple of the number of devices.
        """
        backend = keras.backend.backend()
        if self.hosts and backend != "jax":
            raise UserError(f"--hosts: {backend} trains on one machine only: {_JAX}")
        if self.devices > 1 and backend not in ("jax", "tensorflow"):
            raise UserError(f"--devices: {backend} trains on one device only: {_JAX}")
        for address in self.hosts:
            if not address.rpartition(":")[0] or not address.rpartition(":")[2].isdecimal():
                raise UserError(f"--hosts={address}: write ADDRESS:PORT, such as 10.0.0.1:9876")
        if not 0 <= self.host < self.share[1]:
            raise UserError(
                f"--host={self.host}: give the place in --hosts, 0 to {self.share[1] - 1}"
            )
        if batch_size % self.total:
            fits = batch_size - batch_size % self.total
            sizes = " or ".join(str(each) for each in (fits, fits + self.total) if each)
            raise UserError(
                f"--batch_size={batch_size} cannot be divided among {self.total} devices: "
                f"use {sizes}, or another number of devices"
            )


@dataclass(frozen=True)
class Scopes:
    """Contexts that put a network on devices: for building and compiling it, and for `fit`."""

    building: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext
    training: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext


ONE_DEVICE = Scopes()


@contextlib.contextmanager
def started(layout: Layout) -> Iterator[Scopes]:
    """Connects the hosts and their devices within the block.

    Networks are on all devices within the yielded scopes, and otherwise on the host's first device.

    Raises:
        UserError: there are fewer devices, or a host cannot be reached or ends.
    """
    if layout.total == 1:
        yield ONE_DEVICE
    elif keras.backend.backend() == "tensorflow":
        yield Scopes(building=mirrored(layout.devices).scope)
    else:
        with _failures_told(layout):
            everywhere = _data_parallel(layout).scope
            yield Scopes(everywhere, everywhere)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Runs networks on one device within the block, for batches of any size."""
    everywhere = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(everywhere)


def replicated(
    network: keras.Model, build: Callable[[], keras.Model], scopes: Scopes
) -> keras.Model:
    """The same network on all devices.

    Args:
        network: on one device.
        build: builds another one of this kind.
        scopes: from `started`.
    """
    with scopes.building():
        model = build()
        model.set_weights(network.get_weights())
    if keras.backend.backend() == "tensorflow":  # JAX computes statistics over the whole batch
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
    return model


def _data_parallel(layout: Layout) -> keras.distribution.DataParallel:
    import jax

    if layout.hosts:
        _connect(layout)
    found = jax.local_devices()
    if len(found) < layout.devices:
        raise UserError(
            f"--devices={layout.devices}: JAX finds {len(found)} here ({found[0].platform})"
        )
    chosen = [
        f"{device.platform}:{device.id}"
        for process in range(layout.share[1])
        for device in jax.local_devices(process_index=process)[: layout.devices]
    ]
    # Every host reads its own part of a batch, so Keras need not divide the data.
    return keras.distribution.DataParallel(devices=chosen, auto_shard_dataset=False)


def _connect(layout: Layout) -> None:
    """Waits for all hosts. By default, JAX's coordinator listens on every address of host 0."""
    import jax

    address = layout.hosts[0]
    listens = os.environ.get("JAX_COORDINATOR_BIND_ADDRESS", address)
    _shorten_last_words(f"host 0 ({address}) ended or cannot be reached; {_AGAIN}")
    jax.distributed.initialize(
        address, len(layout.hosts), layout.host, coordinator_bind_address=listens
    )


_LOST = re.compile("Gloo|by peer|UNAVAILABLE|DEADLINE_EXCEEDED")
_AGAIN = "start the command again on every host, with --resume=True once an epoch is done"


def _shorten_last_words(message: str) -> None:
    """Starts a process that prints `message` instead of JAX's stack trace if JAX aborts this one.

    When the coordinator is gone, JAX's client aborts the process from a thread in C++, which Python
    cannot catch.
    """
    filtering = subprocess.Popen(
        [sys.executable, "-u", last_words.__file__, message], stdin=subprocess.PIPE
    )
    sys.stderr.flush()
    os.dup2(filtering.stdin.fileno(), 2)


@contextlib.contextmanager
def _failures_told(layout: Layout) -> Iterator[None]:
    import jax

    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        # Copying values to all hosts raises a ValueError.
        lost = isinstance(error, jax.errors.JaxRuntimeError) or _LOST.search(str(error))
        if not (layout.hosts and lost) or is_out_of_memory(error):
            raise
        raise UserError(f"another host ended or cannot be reached; {_AGAIN}") from error


def agree(layout: Layout, *facts: object) -> None:
    """Checks that all hosts start from the same facts.

    Args:
        facts: values whose `repr` is the same on all hosts; bytes for arrays, which it shortens.

    Raises:
        UserError: they do not.
    """
    if not layout.hosts:
        return
    from jax.experimental import multihost_utils

    digest = hashlib.sha256(repr(facts).encode()).digest()[:8]
    digests = multihost_utils.process_allgather(np.frombuffer(digest, np.uint32))
    if len(np.unique(digests, axis=0)) > 1:
        raise UserError(
            "the hosts differ in their flags, pictures, weights or the run to resume: give all of "
            "them the same, on a shared drive or as copies"
        )


@contextlib.contextmanager
def temporary_run(original: Run | None) -> Iterator[Run]:
    """A run in a temporary folder, for hosts other than 0; a copy of `original` if that is given.

    All hosts do the same work, so that none waits for another, but only host 0 writes to the run.
    """
    with tempfile.TemporaryDirectory(prefix="run") as folder:
        for file in original.folder.iterdir() if original else ():
            if file.is_file() and not file.name.startswith("."):
                shutil.copy(file, folder)
        yield Run(folder)
