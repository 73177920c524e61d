"""Exports a trained network as files for phones, and checks every file before it is kept."""

import contextlib
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from portrait.errors import UserError, printable
from portrait.export import gpu_engine, report, verify
from portrait.export.formats import (
    FORMATS,
    QAT_FORMATS,
    RGBA_FORMATS,
    ExportError,
    Format,
    Source,
    Tolerance,
    check_format,
    load_format,
)
from portrait.export.report import Case, Result
from portrait.export.samples import Samples
from portrait.io.files import check_writable, replacing
from portrait.io.images import write_png
from portrait.models.registry import takes_alpha
from portrait.util import evenly

_THREADS = (1, 2)
_GPU_PICTURES = 3  # each takes seconds in a software GPU
# For `_tolerance`: the number of pictures, and the limit as a multiple of Keras's own error.
_PROBES, _TIMES = 8, 8


class FilesRefused(UserError):
    """Some files were refused; all others are written.

    Args:
        report: the report of the export, see `export`.
        advice: hints for the user.
    """

    def __init__(self, report: dict, advice: Sequence[str] = ()):
        names = refused_files(report)
        total = len(report["files"])
        text = f"{len(names)} of {total} files were not kept: {', '.join(names)}"
        super().__init__("; ".join([text, *advice]))


def refused_files(report: dict) -> list[str]:
    """The names of the files in a report that were refused."""
    return [file["file"] for file in report["files"] if not file["kept"]]


def convert_all(
    model: Any,
    output: str | Path,
    name: str,
    samples: Samples,
    android: bool = False,
    formats: Sequence[str] | Mapping[str, Format] | None = None,
    allow_cpu_ops: bool = False,
    details: dict | None = None,
    gpu_check: bool = False,
) -> dict:
    """Exports a segmentation network in several formats, see `export`.

    Args:
        model: a `keras.Model` from `models.build`.
        output: the folder to write into.
        name: the start of file names; ".tflite" at its end is removed.
        samples: pictures of the network's size, from `load_samples`.
        android: whether to export networks that take RGBA, in the formats that support this.
        formats: names in `formats.FORMATS`, or a dict of formats; None: all formats.
        allow_cpu_ops: whether to keep files with ops that phones run on the CPU.
        details: additional plain values for the report.
        gpu_check: whether to run the TFLite files in `gpu_engine`, too.

    Returns:
        The report, see `export`.

    Raises:
        UserError: a format is unknown, the name is invalid, or nothing can be written.
        FilesRefused: files were refused; raised after all files have been written.
    """
    from portrait.models.build import for_inference

    chosen = _chosen(formats, android)
    name = f"{_checked_name(name)}{'_rgba' if android else ''}"
    source = Source(for_inference(model, 4 if android else 3), samples.calibration)
    document = export(source, output, name, samples, chosen, allow_cpu_ops, details, gpu_check)
    if refused_files(document):
        advice = _advice(document, isinstance(formats, Mapping), allow_cpu_ops)
        raise FilesRefused(document, advice)
    return document


def export(
    source: Source,
    output: str | Path,
    name: str,
    samples: Samples,
    formats: Mapping[str, Format],
    allow_cpu_ops: bool = False,
    details: dict | None = None,
    gpu_check: bool = False,
) -> dict:
    """Writes a network in several formats, checks each file, and writes a report.

    A file is first written under a temporary name. It is kept if phone GPUs support all of its ops,
    and if its outputs match the outputs of the Keras model within the format's tolerance on all
    pictures. If it is refused, an earlier file of the same name stays. The function prints a table,
    and writes `NAME_export.json`, the report, and `NAME_export.png`, the picture with the largest
    error for each file that is kept. Those of an earlier export are removed with the first file
    that is kept, even if this export is interrupted; its files of other formats stay.

    Args:
        source: the network.
        output: the folder to write into.
        name: the start of file names.
        samples: pictures of the network's size.
        formats: the formats by name.
        allow_cpu_ops: whether to keep files with ops that phones run on the CPU.
        details: additional plain values for the report.
        gpu_check: whether to run the TFLite files in `gpu_engine`, too. The results are reported;
            no file is refused for them.

    Returns:
        The report: `model`, `input` (1, H, W, channels), `parameters`, `samples`, `machine`, and
        `files`, see `report.Result.as_json`.

    Raises:
        UserError: nothing can be written.
    """
    if samples.pictures.shape[1:3] != source.size:
        raise ValueError(f"samples of {samples.pictures.shape[1:3]} for a network of {source.size}")
    check_writable(output)
    expected = verify.keras_outputs(source.model, samples.pictures)
    missing = gpu_engine.FLOAT16.missing if gpu_check else None
    job = _Export(source, samples, expected, allow_cpu_ops, gpu_check and not missing)
    output = Path(output)
    report_file, picture = (output / f"{name}_export{suffix}" for suffix in (".json", ".png"))
    results, cases = [], []
    for key, format_ in tqdm(formats.items(), "export", unit=" files", leave=False, disable=None):
        result = Result(key, f"{name}{format_.suffix}")
        results.append(result)
        try:
            cases.append(job.write(format_, output / result.file, result))
            _remove(report_file, picture)
        except ExportError as error:
            result.refused = str(error)
    document = job.document(results) | (details or {})
    with replacing(report_file) as path:
        path.write_text(json.dumps(document, indent=1, allow_nan=False), encoding="ascii")
    _remove(picture)
    if cases:
        write_png(picture, report.sheet(cases))
    print(report.table(results, source.gives_picture))
    if missing:
        print(f"not run on a GPU in float16: {missing}")
    print(f"checked on {len(samples.pictures)} pictures of {printable(samples.source)}")
    written = "files, report and picture" if cases else "report"
    print(f"{written}: {printable(output / name)}_*")
    return document


def _remove(*files: Path) -> None:
    for file in files:
        with contextlib.suppress(OSError):  # a folder, which cannot be replaced either
            file.unlink(missing_ok=True)


def _advice(document: dict, trained_for_8_bits: bool, allow_cpu_ops: bool) -> list[str]:
    """Hints for the user of a segmentation network about refused files."""
    refused = [file for file in document["files"] if not file["kept"]]
    # Other files were refused for their errors, or could not be made.
    for_ops = [file for file in refused if file["gpu"]["verdict"] == "no" and not allow_cpu_ops]
    advice = []
    plain = not trained_for_8_bits and not takes_alpha(document["model"])
    if plain and {file["format"] for file in refused if file not in for_ops} & set(QAT_FORMATS):
        advice.append("main.py --compress=qat trains a network for 8 bits")
    if for_ops:
        advice.append("--allow_cpu_ops=True keeps files that only CPUs compute correctly")
    return advice


class _Export(NamedTuple):
    """The settings that all files of an export share."""

    source: Source
    samples: Samples
    expected: np.ndarray
    allow_cpu_ops: bool
    gpu_check: bool

    def write(self, format_: Format, path: Path, result: Result) -> Case:
        """Writes and checks one file, and stores the findings in `result`.

        Raises:
            ExportError: the file was refused.
        """
        with replacing(path) as temporary:
            format_.write(self.source, temporary)
            result.bytes, result.zipped_bytes = _sizes(temporary)
            inspection = format_.inspect(temporary, self.source)
            result.ops, result.violations = dict(inspection.ops), inspection.violations
            result.activations = inspection.activations
            if result.violations and not self.allow_cpu_ops:
                raise ExportError(report.not_for_gpus(result.violations))
            for runtime, run in format_.runtimes(temporary).items():
                parity, outputs = verify.compare(
                    run, self.samples.pictures, self.expected, self.samples.mattes
                )
                result.parity[runtime] = parity
                if problem := verify.problem(parity, self._tolerance(format_, parity)):
                    raise ExportError(f"{problem} ({runtime})")
            if format_.latency:
                result.latency = {count: format_.latency(temporary, count) for count in _THREADS}
            if format_.gpu_engine and self.gpu_check:
                pictures = np.stack(evenly(list(self.samples.pictures), _GPU_PICTURES))
                result.gpu_float16 = gpu_engine.check(temporary, pictures)
        worst = parity.worst
        return Case(
            result.format, self.samples.pictures[worst], self.expected[worst], outputs[worst]
        )

    def _tolerance(self, format_: Format, parity: verify.Parity) -> Tolerance:
        """The format's tolerance, raised for exact formats to the error of float32 arithmetic."""
        tolerance = format_.tolerance
        if not tolerance.exact or not parity.max_error > tolerance.largest:
            return tolerance
        furthest = np.argsort([-each.max_error for each in parity.pictures])[:_PROBES]
        error = verify.rounding_error(self.source.model, self.samples.pictures[furthest])
        return tolerance._replace(largest=max(tolerance.largest, _TIMES * error))

    def document(self, results: list[Result]) -> dict:
        """The JSON report."""
        return {
            "model": self.source.model.name,
            "input": [1, *self.source.size, self.source.channels],
            "parameters": self.source.model.count_params(),
            "samples": {
                "source": self.samples.source,
                "calibration_pictures": len(self.samples.calibration),
                "checked_pictures": len(self.samples.pictures),
            },
            "machine": report.machine(),
            "files": [result.as_json() for result in results],
        }


def _chosen(
    names: Sequence[str] | Mapping[str, Format] | None, android: bool
) -> Mapping[str, Format]:
    if isinstance(names, Mapping):
        formats = names
    else:
        formats = {name: load_format(name) for name in (FORMATS if names is None else names)}
    if not android:
        return formats
    rgba = {name: format_ for name, format_ in formats.items() if format_.rgba}
    if names is not None and len(rgba) < len(formats):
        others = ", ".join(name for name in formats if name not in rgba)
        raise UserError(f"there is no Android (RGBA) variant of {others}")
    return rgba


def check_request(
    name: str, formats: Sequence[str] | None, android: bool = False, method: str | None = None
) -> None:
    """Checks arguments of `convert_all` or, with `method`, `compress`, without importing formats.

    Raises:
        UserError: the name is invalid, or a format is unknown or not available for Android or for
            this method.
    """
    _checked_name(name)
    for each in formats or ():
        check_format(each)
    if android and (others := [each for each in formats or () if each not in RGBA_FORMATS]):
        raise UserError(f"there is no Android (RGBA) variant of {', '.join(others)}")
    if method == "qat" and (others := sorted({*(formats or ())} - {*QAT_FORMATS})):
        raise UserError(f"qat makes {' and '.join(QAT_FORMATS)}, not {', '.join(others)}")


def _checked_name(name: str) -> str:
    name = name.removesuffix(".tflite")
    if not name or Path(name).name != name or name.startswith("."):
        raise UserError(f"{name!r} is not a valid file name: use a plain name without folders")
    return name


def _sizes(path: Path) -> tuple[int, int]:
    """The size in bytes of a file or folder, plain and deflated as in an app's download."""
    files = path.rglob("*") if path.is_dir() else [path]
    contents = [file.read_bytes() for file in files if file.is_file()]
    return sum(map(len, contents)), sum(len(zlib.compress(content)) for content in contents)
