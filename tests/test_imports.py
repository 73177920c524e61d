"""Tests the rules of imports, see docs/extending.md."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# A module imports from its own part and from parts above it. What a line names first is a module
# or a package; the longest name that fits decides.
PARTS = (
    ("portrait.errors", "portrait.cli", "portrait.backend", "portrait.util", "portrait"),
    ("portrait.io",),
    ("portrait.tflite",),
    ("portrait.matting",),
    ("portrait.losses",),
    ("portrait.models", "network", "fast_scnn"),
    ("portrait.data", "data_generator", "augmentation"),
    ("metrics",),
    ("portrait.inference",),
    ("portrait.training",),
    ("portrait.evaluation",),
    ("portrait.export",),
    ("portrait.style_transfer",),
    ("portrait.effects",),
    ("portrait.prepare",),
    ("portrait.commands",),
    ("main", "apply", "stylize", "prepare_data"),
    ("benchmarks",),
)
STRANGERS = [{"portrait.data", "data_generator", "augmentation"}, {"portrait.models"}]
KERAS_FROM = 4  # `portrait.losses`
TENSORFLOW = (
    *("portrait.backend", "portrait.models.layers", "portrait.training.callbacks"),
    *("portrait.export", "portrait.style_transfer.gatys_loss"),
)
FLAGS = ("portrait.cli", "portrait.commands", "main", "apply", "stylize", "prepare_data")


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Returns the project's modules by name, without tests and notebooks."""
    files = [*root.glob("*.py"), *(root / "portrait").rglob("*.py")]
    files += (root / "benchmarks").glob("*.py")
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for path in files
    }


def imports(path: Path) -> list[tuple[int, str]]:
    """Returns line and name of all imports of a file; `from a import b` gives `a.b`."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def part(name: str) -> int | None:
    """Returns the number of the part of a module, or None if it is not the project's."""
    while name:
        for number, names in enumerate(PARTS):
            if name in names:
                return number
        name = name.rpartition(".")[0]
    return None


def within(name: str, places) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def faults(root: Path = ROOT) -> list[str]:
    """Returns all violations of the rules, as `FILE:LINE: what`."""
    found = []
    for module, path in modules(root).items():
        own = part(module)
        for line, name in imports(path):
            other, place = part(name), f"{path.relative_to(root)}:{line}: "
            package = name.partition(".")[0]
            if other is not None and other > own:
                found.append(f"{place}{name} is in a part below")
            if own == 6 and within(name, ("portrait.models", "network", "fast_scnn")):
                found.append(f"{place}data and models do not know each other")
            if package == "keras" and own < KERAS_FROM and module != "portrait.backend":
                found.append(f"{place}Keras, above portrait.losses")
            if package == "tensorflow" and not within(module, (*TENSORFLOW, "benchmarks")):
                found.append(f"{place}TensorFlow")
            if name.startswith("absl.flags") and not within(module, (*FLAGS, "benchmarks")):
                found.append(f"{place}flags")
            if other is not None and name.rpartition(".")[2].startswith("_"):
                found.append(f"{place}{name} is private")
    return found


def test_modules_keep_the_rules():
    assert not faults()


def test_every_module_has_a_part():
    assert [name for name in modules() if part(name) is None] == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("portrait/io/planted.py", "from portrait.effects import blur"),
        ("portrait/io/planted.py", "def f():\n    import network"),
        ("portrait/data/planted.py", "from portrait.models import registry"),
        ("portrait/matting/planted.py", "import keras"),
        ("portrait/effects/planted.py", "import tensorflow as tf"),
        ("portrait/training/planted.py", "from absl import flags"),
        ("portrait/effects/planted.py", "from portrait.io.images import _decode"),
    ],
)
def test_a_planted_import_is_found(tmp_path, file, line):
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(line)
    assert len(faults(tmp_path)) == 1
    assert faults(tmp_path)[0].startswith(f"{file}:")


def test_no_test_imports_a_test():
    tests = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    found = [
        f"{path.name}:{line}: {name}"
        for path in (ROOT / "tests").rglob("*.py")
        for line, name in imports(path)
        if name.partition(".")[0] in {*tests, "tests"}
    ]
    assert not found


def private_uses(path: Path) -> list[str]:
    """Returns the private names of the project's modules that a test uses."""
    tree = ast.parse(path.read_text())
    ours = {
        (alias.asname or alias.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if part(f"{getattr(node, 'module', None) or ''}.{alias.name}".strip(".")) is not None
    }
    found = [name for _, name in imports(path) if part(name) is not None]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found += [f"{node.value.id}.{node.attr}"] if node.value.id in ours else []
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("setattr", ".object")):
            owner, name = ast.unparse(node.args[0]), ast.unparse(node.args[1]).strip("'")
            found += [f"{owner}.{name}"] if owner in ours else []
    private = (name.rpartition(".")[2] for name in found)
    return [
        f"{path.name}: {name}"
        for name, last in zip(found, private, strict=True)
        if last.startswith("_") and not last.startswith("__")
    ]


def test_no_test_uses_private_names():
    files = (ROOT / "tests").rglob("*.py")
    assert [use for path in files for use in private_uses(path)] == []


@pytest.mark.parametrize(
    "text",
    [
        "from portrait.io.images import _decode",
        "from portrait.io import images\nimages._decode(b'')",
        "import metrics\ndef test(monkeypatch):\n    monkeypatch.setattr(metrics, '_rim', None)",
    ],
)
def test_a_planted_private_name_is_found(tmp_path, text):
    (tmp_path / "test_planted.py").write_text(text)
    assert len(private_uses(tmp_path / "test_planted.py")) == 1


def test_few_entries_stand_at_the_root():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    entries = {line.partition("/")[0] for line in listed.stdout.splitlines()}
    assert len([entry for entry in entries if not entry.startswith(".")]) <= 22
