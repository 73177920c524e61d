"""Tests the networks in the browser, and the smoothing of their alphas."""

import built_page
import numpy as np
import pytest
from PIL import Image
from project import ROOT
from skimage import data

from portrait.io.images import resize
from portrait.tflite.runtime import TfliteModel


@pytest.mark.parametrize(
    ("name", "size", "tolerance"),
    [
        ("selfie_net_big/selfie_net_big_256x256_rgba_float16", (256, 256), 1e-3),
        ("ensemble/ensemble_rgba_float16", (288, 256), 1e-3),
        # Sums of 8-bit numbers are rounded, in either runtime in its own way.
        ("lite_unet/lite_unet_288x256_int8", (288, 256), 0.1),
    ],
)
def test_alphas_are_the_interpreters(window, tmp_path, name, size, tolerance):
    image = resize(data.astronaut(), size)
    Image.fromarray(image).save(tmp_path / "photo.png")
    file = ROOT / "trained_models" / f"{name}.tflite"
    expected = TfliteModel(file.read_bytes(), name)(image)[..., 0]
    alpha = built_page.floats(
        window,
        f"""(async () => {{
            const {{Network}} = await import('./js/model.js');
            const file = 'models/{file.stem.removesuffix("_float16")}.tflite.gz';
            const network = await Network.load(file, 'wasm');
            const photo = new Blob([{built_page.bytes_of((tmp_path / "photo.png").read_bytes())}]);
            const alpha = await network.alpha(await createImageBitmap(photo));
            network.delete();
            return alpha.data;
        }})()""",
    ).reshape(size)
    assert 0.3 < expected.mean() < 0.8
    assert np.abs(alpha - expected).max() < tolerance
    assert np.abs(alpha - expected).mean() < tolerance / 10


def test_a_small_person_is_looked_at_again(window, tmp_path):
    """With a network that takes red for the person: the second look sees more of the outline."""
    rows, columns = np.indices((384, 512))
    truth = np.hypot(rows - 120, columns - 380) < 45
    Image.fromarray(np.uint8(truth[..., None] * [255, 0, 0])).save(tmp_path / "photo.png")
    photo = built_page.bytes_of((tmp_path / "photo.png").read_bytes())
    for look in ("photoAlpha(network, photo, 512, 384)", "network.alpha(photo)"):
        window.run(f"""(async () => {{
            const {{Network, photoAlpha}} = await import('./js/model.js');
            const network = await Network.load('models/red.tflite.gz', 'wasm');
            const photo = await createImageBitmap(new Blob([{photo}]));
            window.looked = await {look};
            network.delete();
        }})()""")
        size = tuple(window.run("[looked.height, looked.width]"))
        alpha = built_page.floats(window, "looked.data").reshape(size)
        error = np.abs(resize(alpha, truth.shape) - truth).mean()
        if look.startswith("photo"):
            twice = error
            assert size > (96, 128)
    assert twice < 0.6 * error


# Evenly distributed from -0.5 to 0.5, and the same in every run.
NOISE = """(() => {
    let state = 7;
    return () => (state = (state * 16807) % 2147483647) / 2147483647 - 0.5;
})()"""

SMOOTHED = """async (noise) => {
    const {Smoother} = await import('./js/temporal.js');
    const smoother = new Smoother(), side = 24, results = [];
    for (let time = 0; time < 12; time++) {
        const bytes = new Uint8ClampedArray(4 * side * side).fill(90);
        const data = new Float32Array(side * side);
        const left = time < 10 ? 4 : 14;
        for (let i = 0; i < data.length; i++) {
            const person = i % side >= left && i % side < left + 8;
            bytes.fill((person ? 200 : 90) + 4 * noise(), 4 * i, 4 * i + 3);
            data[i] = (person ? 0.8 : 0.1) + 0.2 * noise();
        }
        smoother.smooth({data, width: side, height: side}, bytes);
        results.push(...data);
    }
    return Float32Array.from(results);
}"""


def test_smoothing_calms_what_stands_still_and_does_not_lag(window):
    """Noise of +-0.1 on the alpha of a person who stands still for ten frames, and then jumps."""
    alphas = built_page.floats(window, f"({SMOOTHED})({NOISE})").reshape(12, 24, 24)
    noise = 0.2 / np.sqrt(12)  # the standard deviation of an even distribution
    assert alphas[5:10, :, 16:].std(axis=0).mean() < 0.55 * noise
    # At once where the person is now, and no more where it was.
    assert alphas[10, :, 15:21].mean() > 0.77
    assert alphas[10, :, 5:11].mean() < 0.13


CARRIED = """async (noise) => {
    const {Smoother} = await import('./js/temporal.js');
    const smoother = new Smoother(), side = 64, step = 2, results = [];
    const wall = Float32Array.from({length: 16 * 40}, () => 120 + 100 * noise());
    for (let time = 0; time < 10; time++) {
        const bytes = new Uint8ClampedArray(4 * side * side);
        const data = new Float32Array(side * side);
        for (let i = 0; i < data.length; i++) {
            // The picture, in tiles of 4 pixels, and the alpha move to the right.
            const column = (i % side) - step * time + 40, row = Math.floor(i / side);
            bytes.fill(wall[(row >> 2) * 40 + (column >> 2)], 4 * i, 4 * i + 3);
            data[i] = (column >= 60 ? 0.1 : 0.8) + 0.2 * noise();
        }
        smoother.smooth({data, width: side, height: side}, bytes);
        results.push(...data);
    }
    return Float32Array.from(results);
}"""


def test_smoothing_follows_what_moves(window):
    """Noise of +-0.1 on the alpha of a wall with an edge, which moves by two pixels each frame."""
    alphas = built_page.floats(window, f"({CARRIED})({NOISE})").reshape(10, 64, 64)
    edge = 20 + 2 * np.arange(10)
    truth = np.where(np.arange(64) < edge[:, None, None], 0.8, 0.1)
    error = (alphas - truth)[5:, 8:56]
    noise = 0.2 / np.sqrt(12)
    assert error[..., 8:24].std() < 0.75 * noise  # well inside
    assert error[..., 48:56].std() < 0.75 * noise
    near = np.abs(np.arange(64) - edge[5:, None]) <= 2
    assert np.abs(error.transpose(0, 2, 1)[near]).mean() < 0.07  # of 0.05 by noise alone


MOVED = """(async () => {
    const {flowFrom} = await import('./js/flow.js');
    const width = 120, height = 96;
    const scene = (x, y) =>
        120 + 50 * Math.sin(x / 5) * Math.cos(y / 7) + 30 * Math.sin((x + y) / 9);
    const picture = (right, down, light) => Float32Array.from(
        {length: width * height},
        (_, i) => light + scene((i % width) - right, Math.floor(i / width) - down));
    const {x, y} = flowFrom(picture(3, -2, 8), picture(0, 0, 0), width, height);
    return Float32Array.from([...x, ...y]);
})()"""


def test_flow_is_the_movement_of_a_picture(window):
    """The scene moves by (3, -2) pixels and becomes brighter, so it was at (-3, 2)."""
    x, y = built_page.floats(window, MOVED).reshape(2, 96, 120)
    inner = np.s_[12:-12, 12:-12]
    assert np.abs(x[inner] + 3).mean() < 0.15 and np.abs(y[inner] - 2).mean() < 0.15
