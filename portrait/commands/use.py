"""The functions of main.py for trained networks: evaluate, predict, convert, compress, preview.

Their arguments are flags of main.py. `source` is an argument for `inference.network.load`, or a
network from it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from portrait.backend import start_keras
from portrait.commands.batches import batches, data_folders
from portrait.errors import UserError
from portrait.inference.network import MatteFunction, Network, from_keras, load
from portrait.models import registry
from portrait.models.weights import CHECKPOINT_NAME, shipped_weights, weights_file

Source = str | Path | Network


def trained(
    model: str,
    model_size: str = registry.SIZES[0],
    input_shape: str = "",
    *,
    weight_dir: str = "",
    start: str = "",
) -> tuple[Network, Path]:
    """Loads the network `model` in Keras, and returns it with the file of its weights.

    The weights are from `weight_dir`; or, if this is empty, unchanged from the file `start`, which
    must contain a whole network (`Spec.complete`); or, if both are empty, the shipped weights.

    Raises:
        UserError: there are no such weights.
    """
    import numpy as np

    from portrait.models.build import build
    from portrait.models.start.start import start as start_from
    from portrait.models.weights import load_weights

    name = registry.full_name(model, model_size)
    shape = registry.parse_input_shape(input_shape or registry.find(model).input_shape)
    network = build(model, shape, model_size)
    if start and not weight_dir:
        if start in ("none", "imagenet") or not registry.find(model).complete:
            raise UserError(f"--start={start} is for a training: give --weight_dir=FILE")
        # The pictures determine statistics of layers, on which the alphas do not depend.
        start_from(network, start, np.zeros((1, *shape, 3), np.uint8), exactly=True)
        return from_keras(network), Path(start)
    path = weights_file(weight_dir) if weight_dir else shipped_weights(name)
    if not weight_dir and not path.is_file():
        raise UserError(f"there are no weights of {name}: train it, or give --weight_dir=FILE")
    load_weights(network, path)
    return from_keras(network), path


def testing_sets(data: Sequence[str] = (), person_label: Sequence[str] = ()) -> dict:
    """The pairs that each folder is tested with, by folder; of the built-in sample without any.

    `person_label` is as in `labels.examine`.
    """
    from portrait.data.labels import examine
    from portrait.data.pairs import find_pairs

    folders = data_folders(data)
    return {folder: examine(find_pairs([folder], "testing"), person_label) for folder in folders}


def evaluate(
    source: Source | MatteFunction,
    data: Sequence[str] = (),
    *,
    person_label: Sequence[str] = (),
    output: str | Path = "output",
    refine: str = "none",
) -> dict:
    """Scores a network on the testing pictures of folders; see `evaluation.evaluate.evaluate`.

    Args:
        source: the network, or a function from a photograph to its alpha.
        data: folders of pictures with mattes; empty: the built-in sample.
        person_label: as in `labels.examine`.
        output: the folder for the report and the worst cases.
        refine: a key of `matting.refine.METHODS`, or "none".
    """
    from portrait.evaluation import evaluate as evaluation

    return evaluation.evaluate(_matte_fn(source, refine), testing_sets(data, person_label), output)


def predict(
    source: Source | MatteFunction,
    photos: Sequence[str | Path],
    *,
    output: str | Path = "output",
    refine: str = "none",
) -> list[Path]:
    """Writes alphas and cut-outs of photographs; see `inference.predict.predict`."""
    from portrait.inference import predict as prediction

    return prediction.predict(_matte_fn(source, refine), photos, output)


def convert(
    source: Source,
    *,
    data: Sequence[str] = (),
    person_label: Sequence[str] = (),
    output: str | Path = "output",
    tflite_name: str = "",
    android: bool = False,
    formats: Sequence[str] | None = None,
    allow_cpu_ops: bool = False,
    gpu_check: bool = False,
) -> dict:
    """Exports a network for phones; for result and exceptions see `export.convert.convert_all`.

    Args:
        source: the network, as a `.weights.h5` file, the folder of a run, or the full name of a
            shipped network.
        data: folders of pictures for calibration and checks; empty: the built-in sample.
        person_label: as in `labels.examine`.
        output: the folder to write into.
        tflite_name: the start of file names; empty: the network's name.
        android: whether to export networks that take RGBA.
        formats: keys of `export.formats.FORMATS`; None: all.
        allow_cpu_ops: whether to keep files with ops that phones run on the CPU.
        gpu_check: whether to run the TFLite files in `export.gpu_engine`, too.
    """
    from portrait.export import convert_all, load_samples

    network = _keras(source)
    return convert_all(
        network.keras,
        output,
        tflite_name or network.keras.name,
        load_samples(
            data,
            network.input_shape,
            person_label=person_label,
            takes_alpha=registry.takes_alpha(network.keras.name),
        ),
        android=android,
        formats=formats,
        allow_cpu_ops=allow_cpu_ops,
        gpu_check=gpu_check,
    )


def compress(
    source: Source,
    method: str,
    training,
    validation,
    *,
    data: Sequence[str] = (),
    person_label: Sequence[str] = (),
    output: str | Path = "output",
    tflite_name: str = "",
    android: bool = False,
    formats: Sequence[str] | None = None,
    allow_cpu_ops: bool = False,
    epochs: int = 5,
    lr: float = 1e-4,
    sparsity: float = 0.5,
    clusters: int = 32,
) -> dict:
    """Makes a network smaller by training, and exports it; see `export.compress.compress`.

    Args:
        source: see `convert`.
        method: "prune", "cluster" or "qat".
        training: the batches for training, see `batches.batches`.
        validation: the batches for measuring the error of the alpha.
        data: see `convert`, as for the arguments up to `allow_cpu_ops`.
        epochs: the number of epochs.
        lr: the highest learning rate.
        sparsity: the share of weights that "prune" sets to 0.
        clusters: the number of values per layer for "cluster".
    """
    from portrait.export import load_samples
    from portrait.export.compress.compress import Plan
    from portrait.export.compress.compress import compress as run

    network = _keras(source)
    try:
        return run(
            network.keras,
            training,
            validation,
            Plan(method, epochs=epochs, lr=lr, sparsity=sparsity, clusters=clusters),
            output=output,
            name=tflite_name or network.keras.name,
            samples=load_samples(data, network.input_shape, person_label=person_label),
            android=android,
            formats=formats,
            allow_cpu_ops=allow_cpu_ops,
        )
    finally:
        training.close()


def preview(path: str | Path, **settings) -> None:
    """Writes a sheet of augmented training pictures with their targets to a PNG.

    Args:
        path: the PNG.
        settings: the arguments of `batches.batches`.
    """
    from portrait.io.images import write_png
    from portrait.training.previews import sequence_sheet

    training, _ = batches(**settings)
    try:
        write_png(path, sequence_sheet(training, 24))
    finally:
        training.close()


def untrained(model: str) -> MatteFunction:
    """A method without weights, such as "kmeans", as a function from a photograph to its alpha."""
    return registry.imported(registry.find(model).matte)


def run_all(exports: Sequence[Callable[[], object]]) -> None:
    """Calls every export, even if earlier exports refuse files.

    Raises:
        UserError: files were refused.
    """
    from portrait.export import FilesRefused

    refusals = []
    for export in exports:
        try:
            export()
        except FilesRefused as error:
            refusals.append(str(error))
    if refusals:
        raise UserError("; ".join(refusals))


def export_folder(weights: Path, output: str | Path | None) -> Path:
    """The folder for files exported from `weights`: `output`, or by default the weights' run."""
    if output is not None:
        return Path(output)
    return weights.parent / "export" if CHECKPOINT_NAME.fullmatch(weights.name) else Path("output")


def _keras(source: Source) -> Network:
    if not isinstance(source, Network):
        start_keras()
        shipped = shipped_weights(str(source))
        source = load(shipped if shipped.is_file() else source)
    if source.keras is None:
        raise UserError(f"{source.name} is an exported file: give weights")
    return source


def _matte_fn(source: Source | MatteFunction, refine: str) -> MatteFunction:
    if isinstance(source, (str, Path)):
        source = load(source)
    matte_fn = source.matte if isinstance(source, Network) else source
    if refine == "none":
        return matte_fn
    from portrait.matting.refine import refined

    return refined(matte_fn, refine)
