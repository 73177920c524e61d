"""Exports one style, or one mix of styles, for phones, through `export.convert`.

TFLite files have one input `image` and one output `painted`, (1, H, W, 3) float32 of raw 0..255.
The Core ML package takes the image `image` and gives the image `painted`, both H x W RGB. The size
is fixed, because phone GPUs require this.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from portrait.data.sample.sample import sample_backgrounds, sample_portrait
from portrait.export.convert import FilesRefused, export, refused_files
from portrait.export.formats import Format, Source, Tolerance, load_format
from portrait.export.samples import Samples
from portrait.io.images import resize
from portrait.models.registry import parse_input_shape
from portrait.style_transfer.mixes import style_label
from portrait.style_transfer.painter import load_style
from portrait.style_transfer.transform_net import fix_style

TOLERANCES = {
    "float32": Tolerance(largest=0.5, mean=0.01),
    "float16": Tolerance(largest=8.0, mean=0.5),
    "mlpackage_float16": Tolerance(largest=8.0, mean=0.5),
}
"""How far each format's file may be from its Keras model, in levels of 0..255."""


def formats() -> dict[str, Format]:
    """The formats that a style is exported in, with the tolerances for pictures."""
    return {name: replace(load_format(name), tolerance=each) for name, each in TOLERANCES.items()}


def export_style(
    style: str = "",
    weight_dir: str | Path = "",
    output: str | Path = "output",
    input_shape: str = "256",
    gpu_check: bool = False,
) -> dict:
    """Exports one style of a trained network and checks every file against Keras.

    Args:
        style: a style or a mix, see `mixes.parse_mix`; empty: the network's first style.
        weight_dir: weights of a trained network or the folder of a run; empty: the shipped network.
        output: the folder to write into.
        input_shape: the size of the pictures, see `registry.parse_input_shape`; file names contain
            it: `STYLE_256x192_float16.tflite`.
        gpu_check: see `export.convert.export`.

    Returns:
        The report, see `export.convert.export`, with errors in levels of 0..255.

    Raises:
        UserError: there is no such network, style or size; nothing can be written.
        FilesRefused: a file was refused; an earlier file of that name stays.
    """
    shape = parse_input_shape(input_shape)
    network, mix, style = load_style(weight_dir, style)
    pictures = [sample_portrait()[0], *sample_backgrounds()]
    pictures = np.stack([resize(picture, shape) for picture in pictures])
    samples = Samples(pictures[:0], pictures, None, "the built-in sample")
    source = Source(fix_style(network, mix, shape))
    name = "{}_{}x{}".format(style_label(style), *shape)
    report = export(source, output, name, samples, formats(), gpu_check=gpu_check)
    if refused_files(report):
        raise FilesRefused(report)
    return report
