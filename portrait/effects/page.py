"""A local web page: a picture or the webcam in, an effect out."""

import functools
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from portrait.effects import backgrounds, catalogue, styles
from portrait.effects.catalogue import Settings, render
from portrait.effects.matting import matte
from portrait.errors import UserError
from portrait.inference.network import Network
from portrait.io.images import shrink
from portrait.matting.foreground import blur_fusion

if TYPE_CHECKING:
    import gradio

_SIDE = 1280  # pixels of the longer side, at most: the page answers in a second
_HEIGHT = 460  # at which pictures are shown

LAUNCH = {"share": False, "quiet": True, "run_history": False, "footer_links": []}
"""How the page is launched: for this computer alone, and without keeping what was done."""


def serve(network: Network, port: int) -> None:
    """Shows the page at http://127.0.0.1:`port` until Ctrl-C. Nothing leaves this computer.

    Raises:
        UserError: the port is taken.
    """
    logging.getLogger("httpx").setLevel(logging.WARNING)  # Gradio asks itself whether it is up
    page = build(network)
    address = {"server_name": "127.0.0.1", "server_port": port}
    try:
        page.launch(**address, prevent_thread_lock=True, **LAUNCH)
    except OSError as error:
        raise UserError(f"cannot serve at port {port}: it is taken; give --port=NUMBER") from error
    print(f"http://127.0.0.1:{port}: Ctrl-C ends it", flush=True)
    page.block_thread()


def build(network: Network) -> "gradio.Blocks":
    """The page as a `gradio.Blocks`, whose function `apply` is `make_answer(network)`."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    import gradio

    answer = make_answer(network)

    def respond(*values):
        try:
            picture, note = answer(*values)
        except UserError as error:
            raise gradio.Error(str(error), print_exception=False) from error
        if note:
            gradio.Warning(note)
        return picture

    def show_fields(chosen: list[str]) -> list[dict]:
        painted = any(name.startswith("stylize") for name in chosen)
        wanted = ("blur" in chosen, "replace" in chosen, "replace" in chosen, painted)
        return [gradio.update(visible=visible) for visible in wanted]

    # What a user has put in is deleted when the page ends, or an hour later.
    with gradio.Blocks(
        title="Portrait effects", analytics_enabled=False, delete_cache=(3600, 3600)
    ) as page:
        *fields, result = _lay_out()
        picture, effects, strength, colour, behind, style, linear = fields
        effects.change(
            show_fields, effects, [strength, colour, behind, style], api_visibility="private"
        )
        changes = [each.input for each in (picture, effects, behind, style, linear)]
        # A slider and a colour are taken as they are let go of.
        gradio.on(
            [*changes, strength.release, colour.submit, colour.blur],
            respond,
            fields,
            result,
            api_name="apply",
            trigger_mode="always_last",
        )
    return page


def _lay_out() -> tuple:
    """Puts the fields on the page: those of `make_answer`, in its order, and the result."""
    import gradio

    gradio.Markdown("# Portrait effects\nEverything happens on this computer.")
    with gradio.Row():
        picture = gradio.Image(
            label="Photograph",
            sources=["upload", "webcam", "clipboard"],
            height=_HEIGHT,
            buttons=[],
        )
        result = gradio.Image(
            label="Result",
            format="png",
            image_mode="RGBA",
            height=_HEIGHT,
            buttons=["download", "fullscreen"],
        )
    with gradio.Row():
        effects = gradio.Dropdown(
            list(catalogue.NAMES), value=["blur"], multiselect=True, label="Effects, in order"
        )
        linear = gradio.Checkbox(label="Linear light", info="Mixed as light itself is.", scale=0)
    strength = gradio.Slider(0, 1, value=0.5, label="Strength of the blur")
    with gradio.Row():
        colour = gradio.ColorPicker(
            "#2e7d5b", label="Background: a colour ...", visible=False, scale=0, min_width=300
        )
        behind = gradio.Image(
            label="... or a picture", height=200, visible=False, buttons=[], sources=["upload"]
        )
    names = styles.shipped_names()
    style = gradio.Dropdown(
        names,
        value=names[0],
        allow_custom_value=True,
        visible=False,
        label="Style: a name, a mix such as udnie:2,great_wave:1, or a .tflite file",
    )
    return picture, effects, strength, colour, behind, style, linear, result


def _background(colour: str, picture: np.ndarray | None) -> backgrounds.BackgroundFunction:
    """What `replace` puts behind people: the picture, where there is one, or else the colour."""
    return backgrounds.load(colour) if picture is None else lambda time: picture


def make_answer(network: Network) -> Callable[..., tuple[np.ndarray | None, str]]:
    """What the page computes, as a function of its fields.

    Returns:
        The result (None without a picture, the picture without effects), and a note for the user,
        or "".
    """
    load_style = functools.cache(styles.load)

    def answer(
        picture: np.ndarray | None,
        effects: list[str],
        strength: float,
        colour: str,
        behind: np.ndarray | None,
        style: str,
        linear: bool,
    ) -> tuple[np.ndarray | None, str]:
        if picture is None or not effects:
            return picture, ""
        painted = any(name.startswith("stylize") for name in effects)
        settings = Settings(
            strength=strength,
            background=_background(colour, behind) if "replace" in effects else None,
            style=load_style(style) if painted and style else None,
            linear=linear,
            estimate=blur_fusion,
        )
        catalogue.check(effects, settings)
        image = shrink(picture, _SIDE)
        alpha = matte(image, network)
        note = "" if alpha.any() else "Nobody was found in this picture."
        return render(image, alpha, effects, settings), note

    return answer
