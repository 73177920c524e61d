"""Tests that links of the documentation lead somewhere, flags exist, and examples run."""

import re
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pytest
import tiny_network
from project import ROOT

from portrait import losses
from portrait.effects import catalogue
from portrait.export import convert_all
from portrait.export.formats import Format, Inspection, Runtime, Source, Tolerance
from portrait.export.samples import Samples
from portrait.export.verify import as_input
from portrait.models.build import for_inference
from portrait.models.registry import Spec

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
PAGES += sorted((ROOT / "trained_models").glob("**/README.md"))
SIZE = (64, 32)


def named(page):
    return str(page.relative_to(ROOT))


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def anchors(page):
    """Returns the anchors that GitHub makes from the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_have_their_flags(page):
    lines = "".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    for line in lines:
        for script, arguments in re.findall(r"python (\S+\.py)([^#]*)", line):
            commands = ROOT / "portrait" / "commands"
            beside = {
                "main.py": "flags.py",
                "apply.py": "apply_flags.py",
                "stylize.py": "style_flags.py",
                "prepare_data.py": "prepare_flags.py",
            }.get(script)
            files = [ROOT / script, *([commands / beside] if beside else [])]
            source = "".join(file.read_text() for file in files)
            # absl itself defines --flagfile.
            flags = ["flagfile", *re.findall(r'DEFINE_\w+\(\s*"(\w+)"', source)]
            assert set(re.findall(r"--(\w+)", arguments)) <= set(flags), line


@pytest.fixture(scope="module")
def examples():
    """The network, its entry, the effect and the export format of docs/extending.md."""
    return blocks(ROOT / "docs" / "extending.md", "python")


@pytest.fixture(scope="module")
def tiny_net(examples):
    names = {}
    exec(examples[0], names)
    keras.utils.set_random_seed(0)
    return names["build"](SIZE)


def test_the_example_of_an_entry_names_the_example_of_a_network(tiny_net, examples):
    spec = eval(examples[1], {"Spec": Spec})
    assert spec.names == [tiny_net.name]
    assert spec.builder == f"portrait.models.{tiny_net.name}:build"


def test_the_example_of_a_network_learns(tiny_net):
    tiny_net.compile(
        keras.optimizers.Adam(1e-3),
        loss=losses.training_losses(),
        loss_weights=losses.OUTPUT_WEIGHTS,
        run_eagerly=True,  # tracing takes longer than four steps
    )
    images = tiny_network.pictures(2, SIZE).astype(np.float32)
    matte = (images[..., :1] > 100).astype(np.float32)
    targets = {"output": matte, "boundary_attention": 1 - matte}
    steps = [float(tiny_net.train_on_batch(images, targets)[0]) for _ in range(4)]
    assert steps[3] < steps[0]
    rgba = np.concatenate([images, 0 * matte], axis=3)
    alphas = (for_inference(tiny_net, 4)(rgba), for_inference(tiny_net)(images))
    assert np.asarray(alphas[0]) == pytest.approx(np.asarray(alphas[1]), abs=1e-5)


def test_the_examples_of_a_network_and_a_format_are_exported(tiny_net, examples, tmp_path):
    imported = (Counter, Format, Inspection, Path, Source, Tolerance, as_input)
    names = {each.__name__: each for each in imported}
    names |= {"Runtime": Runtime, "keras": keras, "np": np}
    exec(examples[3], names)
    pictures = tiny_network.pictures(2, SIZE)
    samples = Samples(pictures, pictures, np.zeros(pictures.shape[:3], np.uint8), "a test")
    convert_all(tiny_net, tmp_path, "net", samples, formats=names["FORMATS"])
    convert_all(tiny_net, tmp_path, "net", samples, formats=["float32"])
    assert {"net.keras", "net_float32.tflite"} <= {path.name for path in tmp_path.iterdir()}


def test_the_example_of_an_effect_darkens_the_background(examples, monkeypatch):
    monkeypatch.setattr(catalogue, "CHANGES", dict(catalogue.CHANGES))
    exec(examples[2], vars(catalogue).copy())
    image = np.full((20, 20, 3), 200, np.uint8)
    alpha = np.zeros((20, 20), np.float32)
    alpha[:, 10:] = 1
    settings = catalogue.Settings(strength=0.75)
    monkeypatch.setattr(catalogue, "NAMES", (*catalogue.NAMES, "darken_background"))
    result = catalogue.render(image, alpha, ["darken_background"], settings)
    assert (result[:, :8] == 50).all() and (result[:, 12:] == 200).all()


def test_the_tests_of_the_table_of_files_exist():
    rows = [
        row for row in (ROOT / "docs" / "security.md").read_text().splitlines() if "| `tests" in row
    ]
    assert len(rows) > 10
    for row in rows:
        for file, name in re.findall(r"`(tests/\S+)::(\w+)`", row):
            assert f"def {name}(" in (ROOT / file).read_text(), row


def test_the_networks_with_int8_files_are_these():
    page = (ROOT / "docs" / "mobile.md").read_text()
    (named,) = re.findall(r"only `(\w+)` and `(\w+)` have int8 files", page)
    shipped = {file.parent.name for file in (ROOT / "trained_models").glob("*/*_int8.tflite")}
    assert set(named) == shipped
