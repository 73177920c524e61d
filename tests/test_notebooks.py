"""Tests that every notebook runs from top to bottom, and is stored without outputs."""

import cv2
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from project import ROOT
from tiny_portraits import write

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SLOW = ("Convert_to_mlmodels", "Convert_to_tflite", "Model_output_EDA", "dataloader_test")


def execute(path, replacements=()):
    """Runs a notebook with some code replaced, and returns its outputs."""
    notebook = nbformat.read(path, as_version=4)
    for old, new in replacements:
        (cell,) = [cell for cell in notebook.cells if old in cell.source]
        cell.source = cell.source.replace(old, new)
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": path.parent}}
    )
    client.execute()  # raises the exceptions of cells
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def said(outputs, stream):
    return "".join(output["text"] for output in outputs if output.get("name") == stream)


@pytest.mark.parametrize(
    "path",
    [
        # tests/data, tests/export and tests/evaluation test the functions of the slow ones.
        pytest.param(path, marks=[pytest.mark.slow] if path.stem in SLOW else [])
        for path in NOTEBOOKS
    ],
    ids=lambda path: path.stem,
)
def test_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("OUTPUT", str(tmp_path))
    outputs = execute(path)
    assert any("image/png" in output.get("data", ()) for output in outputs)
    warnings = said(outputs, "stderr")
    assert "Warning" not in warnings and "INFO" not in warnings


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "evidence"),
    [("dataloader_test", "the first is drawn/00"), ("Model_output_EDA", "20 photographs ")],
)
def test_runs_on_other_pictures(name, evidence, tmp_path):
    folder = write(tmp_path / "drawn", 20, (80, 60))
    for matte in folder.glob("*_matte.png"):  # label masks: 9 is the person
        labels = np.where(cv2.imread(str(matte), cv2.IMREAD_GRAYSCALE) > 127, 9, 7).astype(np.uint8)
        labels[:2] = 0
        cv2.imwrite(str(matte), labels)
    path = ROOT / "notebooks" / f"{name}.ipynb"
    given = [("DATA = []", f"DATA = [{str(folder)!r}]")]
    outputs = execute(path, [*given, ("PERSON_LABEL = []", 'PERSON_LABEL = ["9"]')])
    assert evidence in said(outputs, "stdout")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_kept_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.cells[0].cell_type == "markdown"
    for cell in notebook.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None


def test_there_are_notebooks():
    names = {"Convert_to_tflite", "Convert_to_mlmodels", "Soft_labels"}
    names |= {"dataloader_test", "Model_output_EDA"}
    assert names <= {path.stem for path in NOTEBOOKS}
