"""Tests what benchmarks/training_step.py times, with a clock that epochs advance."""

from types import SimpleNamespace

import keras
import pytest

from benchmarks import training_step

# Of the first and of the second epoch.
MEMORY, LOADER = (90.0, 2.0), (70.0, 3.0)


@pytest.fixture
def fits(monkeypatch):
    """The fits: of which data, and the number of loaders whose workers are alive."""
    clock, alive, fits = [0.0], [], []

    class Loader:
        def __init__(self, pictures, workers):
            self.epochs = []
            if workers:
                alive.append(self)

        def __len__(self):
            return 3

        def __getitem__(self, index):
            return index

        def follow_epoch(self):
            return keras.callbacks.LambdaCallback(
                on_epoch_begin=lambda epoch, logs: self.epochs.append(epoch)
            )

        def close(self):
            alive.remove(self)

    class Model:
        def fit(self, data, epochs=1, callbacks=(), **_):
            ours = isinstance(data, Loader)
            fits.append((ours, len(alive)))
            for epoch in range(epochs):
                for callback in callbacks:
                    callback.on_epoch_begin(epoch, {})
                clock[0] += (LOADER if ours else MEMORY)[epoch]
                for callback in callbacks:
                    callback.on_epoch_end(epoch, {})
            assert not ours or data.epochs == [0, 1]

    monkeypatch.setattr(training_step.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(training_step, "loader", Loader)
    monkeypatch.setattr(training_step, "build", lambda name, size: Model())
    monkeypatch.setattr(training_step, "compiled", lambda model: model)
    monkeypatch.setattr(training_step, "FLAGS", SimpleNamespace(workers=2, repeats=2))
    return fits


def test_second_epochs_are_timed_and_no_workers_run_beside_the_memory(fits, capsys):
    training_step.compare("net", (32, 24), SimpleNamespace(images=range(12)))
    name, memory, through, *ratios = capsys.readouterr().out.split()
    assert (name, float(memory), float(through)) == ("net", 6, 4)
    assert [float(ratio) for ratio in ratios] == [1.5, 1.5, 1.5]
    assert fits == 2 * [(False, 0), (True, 1)]
