"""The files that `fuzz.py` damages: small files of every kind, and the functions that read them.

No files are stored; they are generated here.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image

from benchmarks import fuzz_mutants
from portrait.io.images import read_image
from portrait.io.mattes import read_matte
from portrait.io.video_outputs import write_video
from portrait.io.video_reader import open_video

_NOISE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
_MATTE = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (24, 1))


@dataclass(frozen=True)
class Subject:
    """A file and its reader.

    Attributes:
        file: the name of the file.
        make: writes the file to a path.
        use: reads the file at a path, and writes its results into a folder.
        mutate: damages the bytes of the file.
    """

    file: str
    make: Callable[[Path], object]
    use: Callable[[Path, Path], object]
    mutate: fuzz_mutants.Mutator = fuzz_mutants.in_bytes


def subjects() -> dict[str, Subject]:
    """Returns all kinds by name. The kinds of networks import Keras when they are used."""
    return {**_pictures(), **_mattes(), **_videos(), **_networks()}


def _pictures() -> dict[str, Subject]:
    picture, noise = Image.fromarray(_NOISE), fuzz_mutants.in_png
    deep = _NOISE.astype(np.uint16) * 257
    frames = [Image.fromarray(np.roll(_NOISE, 4 * step, 1)) for step in range(3)]
    moving = {"save_all": True, "append_images": frames[1:], "duration": 40}
    found = {
        "png": ("a.png", picture, {}, noise),
        "png palette": ("a.png", picture.quantize(16), {"transparency": 3}, noise),
        "jpeg": ("a.jpg", picture, {"quality": 90}, None),
        "jpeg progressive": ("a.jpg", picture, {"progressive": True}, None),
        "webp": ("a.webp", picture, {}, None),
        "bmp": ("a.bmp", picture, {}, None),
        "ppm": ("a.ppm", picture, {}, None),
        "jpeg2000": ("a.jp2", picture, {}, None),
        "avif": ("a.avif", picture, {}, None),
        "tiff": ("a.tif", picture, {"compression": "tiff_lzw"}, None),
        "tiff cmyk": ("a.tif", picture.convert("CMYK"), {"compression": "jpeg"}, None),
        "gif": ("a.gif", frames[0], moving, None),
        "apng": ("a.png", frames[0], moving, noise),
        "webp animated": ("a.webp", frames[0], moving, None),
    }
    made = {}
    for kind, (file, image, options, mutate) in found.items():
        use = _watch if "save_all" in options else _see
        make = _saver(image, options)
        made[kind] = Subject(file, make, use, mutate or fuzz_mutants.in_bytes)
    made["png 16 bits"] = Subject("a.png", _encoder(deep), _see, noise)
    made["tiff float"] = Subject("a.tif", _encoder(_NOISE.astype(np.float32) / 255), _see)
    made["heic"] = Subject("a.heic", _save_heic, _see)
    return made


def _saver(image: Image.Image, options: dict) -> Callable[[Path], object]:
    return lambda path: image.save(path, **options)


def _encoder(array: np.ndarray) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(cv2.imencode(path.suffix, array)[1].tobytes())


def _save_heic(path: Path) -> None:
    import pillow_heif

    pillow_heif.from_pillow(Image.fromarray(_NOISE)).save(path)


def _see(path: Path, output: Path) -> None:
    read_image(path)


def _mattes() -> dict[str, Subject]:
    from scipy.io import savemat

    labels = Image.fromarray((_MATTE > 99).astype(np.uint8) * 15, "P")
    labels.putpalette([0, 0, 0] * 15 + [192, 128, 128])
    colours = Image.fromarray((_MATTE > 99)[..., None] * np.uint8([255, 0, 0]))
    array = {"mask": (_MATTE > 99).astype(np.uint8), "other": np.ones((2, 2))}
    png, plain = fuzz_mutants.in_png, fuzz_mutants.in_bytes
    makers = {
        "matte grey": ("m.png", _saver(Image.fromarray(_MATTE), {}), png),
        "matte palette": ("m.png", _saver(labels, {}), png),
        "matte colours": ("m.png", _saver(colours, {}), png),
        "matte float": ("m.tif", _encoder(_MATTE.astype(np.float32) / 255), plain),
        "mat": ("m.mat", lambda path: savemat(path, array), plain),
        "mat packed": ("m.mat", lambda path: savemat(path, array, do_compression=True), plain),
        "mat 4": ("m.mat", lambda path: savemat(path, array, format="4"), plain),
    }

    def use(path: Path, output: Path) -> None:
        read_matte(path)

    return {kind: Subject(file, make, use, mutate) for kind, (file, make, mutate) in makers.items()}


_CLIPS = {
    "mp4": ("libx264", "aac"),
    "mov": ("mjpeg", "pcm_s16le"),
    "mkv": ("ffv1", "flac"),
    "webm": ("libvpx-vp9", "libopus"),
    "avi": ("mpeg4", "libmp3lame"),
    "ts": ("libx264", "aac"),
    "mpg": ("mpeg2video", "mp2"),
    "flv": ("libx264", "aac"),
    "wmv": ("msmpeg4v3", "libmp3lame"),
    "ogv": ("libvpx", "libopus"),
    "mxf": ("mpeg2video", ""),
    "3gp": ("libx264", "aac"),
    "m2v": ("mpeg2video", ""),
}


def _videos() -> dict[str, Subject]:
    return {
        suffix: Subject(f"a.{suffix}", lambda path, codecs=codecs: _film(path, *codecs), _watch)
        for suffix, codecs in _CLIPS.items()
    }


def _film(path: Path, codec: str, audio: str) -> None:
    """Writes a clip of six frames and a tone."""
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25, options={"g": "5"})
        video.height, video.width = (96, 128) if codec == "mpeg2video" else (48, 32)
        video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        sound = container.add_stream(audio, rate=48000, layout="mono") if audio else None
        for step in range(6):
            noise = np.roll(_NOISE, 4 * step, axis=1)
            picture = cv2.resize(noise, (video.width, video.height))
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if sound:
            resampler = av.AudioResampler(sound.codec_context.format, "mono", 48000, frame_size=960)
            tone = np.sin(np.arange(9600, dtype=np.float32) / 20)[None] / 2
            heard = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            heard.sample_rate, heard.pts = 48000, 0
            for frame in resampler.resample(heard):
                container.mux(sound.encode(frame))
            container.mux(sound.encode())


def _watch(path: Path, output: Path) -> None:
    """Reads a clip, writes it to a new file, and checks that the new file can be read."""
    suffix = (".mp4", ".webm", ".mov")[path.stat().st_size % 3]
    target = output / f"out{suffix}"
    reader = open_video(path)
    try:
        write_video(target, reader, reader)
    finally:
        reader.close()
    with av.open(str(target)) as container:
        next(container.decode(video=0))


def _networks() -> dict[str, Subject]:
    zipped, plain = fuzz_mutants.in_zip, fuzz_mutants.in_bytes
    return {
        "weights": Subject("a.weights.h5", _save_weights, _load_weights, fuzz_mutants.in_hdf5),
        "npz": Subject("a.npz", _save_arrays, _load_arrays, zipped),
        "state.npz": Subject("state.npz", _save_state, _load_state, zipped),
        "run.json": Subject("run.json", _write_run, _read_run, fuzz_mutants.in_json),
        "style run.json": Subject("run.json", _write_style, _read_style, fuzz_mutants.in_json),
        "history.csv": Subject("history.csv", _write_history, _read_history, plain),
        "tflite": Subject("a.tflite", _write_tflite, _run_tflite, fuzz_mutants.in_tflite),
    }


def _tiny():
    """Builds a network with an optimizer, once per process."""
    if not _MADE:
        from portrait.backend import start_keras

        start_keras()
        import keras

        image = keras.Input((8, 8, 3), name="image")
        x = keras.layers.Conv2D(4, 3, padding="same", name="stem")(image)
        x = keras.layers.BatchNormalization(name="norm")(x)
        model = keras.Model(image, keras.layers.Conv2D(1, 1, name="output")(x), name="tiny")
        model.compile("adam", "mse")
        model.optimizer.build(model.trainable_variables)
        _MADE.append(model)
    return _MADE[0]


_MADE: list = []


def _save_weights(path: Path) -> None:
    _tiny().save_weights(path)


def _load_weights(path: Path, output: Path) -> None:
    from portrait.models.weights import load_weights

    load_weights(_tiny(), path)


def _save_arrays(path: Path) -> None:
    np.savez(path, **{f"conv{n}/kernel": np.zeros((3, 3, 2, 2), np.float32) for n in (1, 2)})


def _load_arrays(path: Path, output: Path) -> None:
    from portrait.models.weights import read_arrays

    read_arrays(path)


def _save_state(path: Path) -> None:
    from portrait.training.run import Progress, Run

    row = {"epoch": 1, "loss": 0.5, "val_loss": 0.4}
    Run(path.parent).save_state(_tiny(), Progress(1, 1, 0.4, history=[row]))


def _load_state(path: Path, output: Path) -> None:
    from portrait.training.run import Run

    Run(path.parent).load_state(_tiny())


def _write_run(path: Path) -> None:
    from portrait.commands.train import FLAGS

    given = {name: flags_of_main()[name].default for name in FLAGS}
    given |= {"model": "lite_unet", "model_size": "big", "input_shape": "64", "lr": 0.1}
    data = {"training_pictures": 4, "validation_pictures": 1}
    path.write_text(json.dumps({"command": ["main.py"], "flags": given, "data": data}))
    (path.parent / "0001-0.5000.weights.h5").write_bytes(b"")
    (path.parent / "state.npz").write_bytes(b"")


def _read_run(path: Path, output: Path) -> None:
    """Reads a run as `main.py --resume=True` and `--weight_dir=RUN` do."""
    from absl.testing import flagsaver

    from portrait import cli
    from portrait.commands import settings

    flags = flags_of_main()
    if not flags.is_parsed():
        flags(["main.py"])
    for given in ({"weight_dir": str(path.parent)}, {"resume": True}):
        with flagsaver.flagsaver(checkpoint_path=str(path.parent), **given):
            settings.settle()
            cli.arguments(settings.settle)


def flags_of_main():
    """Returns the flags of main.py."""
    from portrait.commands import flags

    return flags.FLAGS


def _write_style(path: Path) -> None:
    from portrait.style_transfer import PAINTINGS

    path.write_bytes((PAINTINGS / "run.json").read_bytes())
    for weights in PAINTINGS.glob("*.weights.h5"):
        (path.parent / weights.name).symlink_to(weights)


def _read_style(path: Path, output: Path) -> None:
    from portrait.style_transfer.painter import load_network

    load_network(path.parent)


def _write_history(path: Path) -> None:
    path.write_text("epoch,seconds,loss,val_loss\n1,2.5,0.5,0.25\n2,2.5,0.25,0.125\n")
    for epoch in (1, 2):
        (path.parent / f"{epoch:04}-0.2500.weights.h5").write_bytes(b"")


def _read_history(path: Path, output: Path) -> None:
    from portrait.models.weights import best_checkpoint

    best_checkpoint(path.parent)


def _write_tflite(path: Path) -> None:
    from portrait.inference.network import shipped_files

    path.write_bytes(
        min(shipped_files().values(), key=lambda each: each.stat().st_size).read_bytes()
    )


def _run_tflite(path: Path, output: Path) -> None:
    from portrait.inference.network import load

    load(path).matte(_NOISE)
