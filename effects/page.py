"""A local web page: a picture or the webcam in, an effect out."""

import functools
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from effects import backgrounds, catalogue, styles
from effects.catalogue import Settings, render
from effects.foreground import blur_fusion
from effects.matting import matte
from effects.networks import Network
from files import UserError
from preprocess import resize

if TYPE_CHECKING:
    import gradio

_SIDE = 1280  # pixels of the longer side, at most: the page answers in a second


def serve(network: Network, port: int) -> None:
    """Shows the page at http://127.0.0.1:`port` until Ctrl-C. Nothing leaves this computer.

    Raises:
        UserError: the port is taken.
    """
    logging.getLogger("httpx").setLevel(logging.WARNING)  # Gradio asks itself whether it is up
    page = build(network)
    print(f"http://127.0.0.1:{port}: Ctrl-C ends it")
    try:
        page.launch(server_name="127.0.0.1", server_port=port, share=False, quiet=True)
    except OSError as error:
        raise UserError(f"cannot serve at port {port}: it is taken; give --port=NUMBER") from error


def build(network: Network) -> "gradio.Blocks":
    """The page as a `gradio.Blocks`, whose function `apply` is `make_answer(network)`."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    import gradio

    answer = make_answer(network)

    def respond(*values):
        try:
            return answer(*values)
        except UserError as error:
            raise gradio.Error(str(error)) from error

    with gradio.Blocks(title="Portrait effects", analytics_enabled=False) as page:
        gradio.Markdown("# Portrait effects\nEverything happens on this computer.")
        with gradio.Row():
            with gradio.Column():
                picture = gradio.Image(
                    label="Photograph", sources=["upload", "webcam", "clipboard"], type="numpy"
                )
                effects = gradio.Dropdown(
                    list(catalogue.NAMES), value=["blur"], multiselect=True, label="Effects"
                )
                strength = gradio.Slider(0, 1, value=0.5, label="Strength of blur")
                colour = gradio.ColorPicker(value="#2e7d5b", label="Background: a colour")
                behind = gradio.Image(label="Background: a picture", type="numpy")
                style = gradio.Textbox(label="Style: a name, a mix or a .tflite file")
                linear = gradio.Checkbox(label="Linear light")
                button = gradio.Button("Apply", variant="primary")
            result = gradio.Image(label="Result", format="png", type="numpy")
        inputs = [picture, effects, strength, colour, behind, style, linear]
        button.click(respond, inputs, result, api_name="apply")
        # The webcam gives a picture when it is snapped, the slider when it is let go.
        picture.input(respond, inputs, result, api_name=False)
        strength.release(respond, inputs, result, api_name=False)
    return page


def make_answer(network: Network) -> Callable[..., np.ndarray | None]:
    """What the page computes, as a function of its fields; None without a picture."""
    load_style = functools.cache(styles.load)

    def answer(
        picture: np.ndarray | None,
        effects: list[str],
        strength: float,
        colour: str,
        behind: np.ndarray | None,
        style: str,
        linear: bool,
    ) -> np.ndarray | None:
        if picture is None:
            return None
        scale = min(1.0, _SIDE / max(picture.shape[:2]))
        height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
        image = resize(picture[..., :3], (height, width))
        settings = Settings(
            strength=strength,
            background=(lambda time: behind[..., :3])
            if behind is not None
            else backgrounds.load(colour),
            style=load_style(style) if style else None,
            linear=linear,
            estimate=blur_fusion,
        )
        catalogue.check(effects, settings)
        return render(image, matte(image, network), effects, settings)

    return answer
