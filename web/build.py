"""Builds the page in the browser: one folder that a static host can serve.

python -m web.build [FOLDER] [FILE.tflite ...]

`make web` installs LiteRT.js with npm and runs this module. The files are additional networks from
`main.py --convert`, or styles from `stylize.py --convert`.
"""

import gzip
import hashlib
import itertools
import json
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from portrait.errors import UserError
from portrait.inference.network import INPUT_RANGES
from portrait.io.files import replacing
from portrait.models.registry import takes_alpha
from portrait.tflite.metadata import stated_name, stated_normalization
from portrait.tflite.runtime import TfliteModel, read_file
from portrait.tflite.unpack import unpack_float16

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SHIPPED = ROOT / "trained_models"
PACKAGES = HERE / "node_modules" / "@litertjs"
PAGE = ("index.html", "style.css", "icon.svg", "manifest.webmanifest")
RUNTIMES = ("litert_wasm_internal", "litert_wasm_compat_internal")
LIBRARY = (
    *("core/dist/index.js", "core/package.json", "wasm-utils/dist/index.js"),
    *(f"core/wasm/{name}{suffix}" for name in RUNTIMES for suffix in (".js", ".wasm")),
)
WORKER = "sw.js"
LIST = "models/models.json"  # in built pages only, unlike the worker
_IMPORTED = 'from "@litertjs/wasm-utils"'  # without a bundler, the browser needs an address instead


def build(target: Path, own: list[Path] = ()) -> None:
    """Writes the page into a folder, and replaces an earlier page there.

    Args:
        target: the folder.
        own: `.tflite` files to offer in addition to the shipped networks.

    Raises:
        UserError: LiteRT.js is not installed, the folder holds something else, or a file is
            missing, is not a .tflite file, or has inputs or outputs that the page cannot use.
    """
    if target.exists() and not (target / LIST).is_file():
        raise UserError(f"{target} does not hold a built page, so it is not replaced")
    if not all((PACKAGES / name).is_file() for name in LIBRARY):
        raise UserError("LiteRT.js is not installed, or not whole: run npm ci in web/, or make web")
    with replacing(target) as temporary:
        temporary.mkdir()
        for path in (*(HERE / name for name in PAGE), ROOT / "LICENSE"):
            shutil.copy(path, temporary)
        shutil.copytree(HERE / "js", temporary / "js")
        _runtime(temporary / "litert")
        _models(temporary / "models", own)
        _sample(temporary / "sample.jpg")
        _worker(temporary)


def _runtime(folder: Path) -> None:
    """Copies LiteRT.js and its licence; gzips the WebAssembly, because few static hosts do."""
    folder.mkdir()
    library = (PACKAGES / "core" / "dist" / "index.js").read_text()
    if _IMPORTED not in library:
        raise UserError("this version of @litertjs/core is not the one in web/package.json")
    library = library.replace(_IMPORTED, 'from "./wasm-utils.js"')
    (folder / "index.js").write_text(f"// Changed: the address of wasm-utils.js.\n{library}")
    shutil.copy(PACKAGES / "wasm-utils" / "dist" / "index.js", folder / "wasm-utils.js")
    for name in RUNTIMES:
        shutil.copy(PACKAGES / "core" / "wasm" / f"{name}.js", folder)
        _zip(folder / f"{name}.wasm.gz", (PACKAGES / "core" / "wasm" / f"{name}.wasm").read_bytes())
    version = json.loads((PACKAGES / "core" / "package.json").read_text())["version"]
    notice = f"LiteRT.js (@litertjs/core {version}), by Google, Apache License 2.0: see LICENSE.\n"
    (folder / "NOTICE").write_text(notice)
    shutil.copy(ROOT / "LICENSE", folder)  # the same licence


def _models(folder: Path, own: list[Path]) -> None:
    """Writes the networks and styles, with float16 unpacked, and their list, models.json."""
    folder.mkdir()
    entries = json.loads((HERE / "models.json").read_text())
    files = [(SHIPPED / entry["file"], entry) for entry in entries]
    files += [(path, {"name": _title(path), "about": ""}) for path in own]
    listed = []
    for path, entry in files:
        if not path.is_file():
            raise UserError(f"there is no {path}")
        model = read_file(path)
        if model[4:8] != b"TFL3":
            raise UserError(f"{path} is not a .tflite file")
        paints = _paints(model, path)
        name = _file_name(path, [each["file"] for each in listed])
        size = _zip(folder / name, unpack_float16(model))
        listed.append(entry | {"file": name, "bytes": size, "paints": paints})
    shutil.copy(ROOT / "docs" / "licences.md", folder)
    (folder / Path(LIST).name).write_text(json.dumps(listed, indent=1))


def _file_name(path: Path, taken: Sequence[str]) -> str:
    """Returns a name that is not taken, without characters that have a meaning in addresses."""
    stem = re.sub(r"[^\w.-]+", "-", path.stem.removesuffix("_float16"))
    endings = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    names = (f"{stem}{ending}.tflite.gz" for ending in endings)
    return next(name for name in names if name not in taken)


def _title(path: Path) -> str:
    """Returns a readable name: "Great wave" for "great_wave_384x288_float16.tflite"."""
    name = re.sub(r"(_\d+x\d+)?(_float32|_float16)?$", "", path.stem)
    return name.replace("_", " ").capitalize()


def _paints(model: bytes, path: Path) -> bool:
    """Returns whether a file returns pictures rather than alphas.

    Raises:
        UserError: the page cannot give it a picture, or cannot use what it returns.
    """
    network = TfliteModel(model, str(path))
    *size, channels = network.output_shape
    if tuple(size) != network.input_shape or channels not in (1, 3):
        shape = " x ".join(map(str, network.output_shape))
        raise UserError(f"{path} returns {shape}, which is no alpha or picture of its input's size")
    if network.channels > 4 or takes_alpha(stated_name(model, str(path))):
        raise UserError(f"{path} takes an alpha beside the picture, which the page does not have")
    if network.interpreter.get_input_details()[0]["dtype"] == np.int8:
        raise UserError(f"{path} takes int8, but the page gives float32 or uint8")
    stated = stated_normalization(model, str(path))
    if channels == 1 and network.takes_floats and stated != INPUT_RANGES["0..255"]:
        raise UserError(f"{path} has no metadata that says that it takes pixels of 0 to 255")
    return channels == 3


def _sample(path: Path) -> None:
    """Writes a photograph to try: NASA's portrait of Eileen Collins (public domain)."""
    from PIL import Image
    from skimage import data

    Image.fromarray(data.astronaut()).save(path, quality=88)


def _worker(folder: Path) -> None:
    """Writes the service worker with the names and hashes of all files, to detect new ones."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    hashes = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for path in files
    }
    worker = (HERE / WORKER).read_text()
    assert worker.count("const FILES = {};") == 1
    text = f"const FILES = {json.dumps(hashes, indent=1)};"
    (folder / WORKER).write_text(worker.replace("const FILES = {};", text))


def _zip(path: Path, content: bytes) -> int:
    """Writes a gzip file with reproducible bytes, and returns its size."""
    return path.write_bytes(gzip.compress(content, 9, mtime=0))


def main(arguments: list[str]) -> int:
    target = Path(arguments[0] if arguments else "dist").resolve()
    try:
        build(target, [Path(name) for name in arguments[1:]])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # the folder cannot be looked into
        print(f"error: cannot write {target}: {error.strerror or error}", file=sys.stderr)
        return 1
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"{target}: {size / 1e6:.1f} MB; try it: python -m http.server --directory {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
