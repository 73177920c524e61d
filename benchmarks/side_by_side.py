"""Scores and times segmentation models alike."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import trange

from evaluation import score
from export.report import machine
from files import UserError
from pairs import Pair, find_pairs
from segmenters import Segmenter, count_macs, count_parameters


def latencies(models: Sequence[Segmenter], rounds: int) -> list[dict[str, float]]:
    """Times the models in turn, each once a round after an untimed run that warms its caches.

    Returns:
        For each model, in milliseconds, `median`, and the quartiles `low` and `high`; and
        `relative`, the median over rounds of its time divided by the first model's of that round.
    """
    for model in models:
        taken = model.interpreter.get_input_details()[0]
        picture = np.random.default_rng(0).uniform(0, 1, taken["shape"])
        model.interpreter.set_tensor(taken["index"], picture.astype(taken["dtype"]))
    times = np.empty((rounds, len(models)))
    for number in trange(rounds, desc="latency", unit=" rounds", disable=None):
        for place, model in enumerate(models):
            model.interpreter.invoke()
            start = time.perf_counter()
            model.interpreter.invoke()
            times[number, place] = (time.perf_counter() - start) * 1e3
    ratios = np.median(times / times[:, :1], axis=0)
    quartiles = np.percentile(times, (50, 25, 75), axis=0)
    return [
        {"median": float(median), "low": float(low), "high": float(high), "relative": float(ratio)}
        for (median, low, high), ratio in zip(quartiles.T, ratios, strict=True)
    ]


def compare(models: Sequence[Segmenter], datasets: dict[str, list[Pair]], rounds: int) -> dict:
    """Scores and times models.

    Returns:
        `machine`, `rounds` and `models`: for each `name`, `bytes`, `parameters`, `macs`,
        `input_shape`, `latency_ms`, and `sets` and `pictures` as `evaluation.score` reports them.

    Raises:
        UserError: two models have one name, nothing could be read, or a model yields NaN.
    """
    names = Counter(model.name for model in models)
    if doubled := [name for name, count in names.items() if count > 1]:
        raise UserError(f"two models are called {doubled[0]}: write NAME=FILE.tflite")
    entries = []
    for model, latency in zip(models, latencies(models, rounds), strict=True):
        print(f"{model.name}:", file=sys.stderr)
        scores, _ = score(model.matte_fn, datasets)
        entries.append(
            {
                "name": model.name,
                "bytes": len(model.file),
                "parameters": count_parameters(model.file),
                "macs": count_macs(model.file),
                "input_shape": model.input_shape,
                "latency_ms": latency,
                "sets": scores["sets"],
                "pictures": scores["pictures"],
            }
        )
    return {"machine": machine(), "rounds": rounds, "models": entries}


def find_datasets(folders: Sequence[str]) -> dict[str, list[Pair]]:
    """The testing pairs of each folder, by its name, or whole path where names are the same."""
    names = [Path(folder).resolve().name for folder in folders]
    return {
        name if names.count(name) == 1 else folder: find_pairs([folder], "testing")
        for name, folder in zip(names, folders, strict=True)
    }
