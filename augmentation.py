"""Random augmentations of training pictures and their mattes, from imgaug augmenters.

There are three stages, in this order: geometry moves image and matte together; `background` puts
the person on another photograph; light and camera change only the image. Every augmentation can be
switched by its name (`NAMES`).
"""

from collections.abc import Sequence

import numpy as np

from portrait.data.backgrounds import replace_background
from portrait.data.imgaug_compat import iaa, iap
from portrait.errors import UserError

_GEOMETRY = (
    "flip_horizontal",
    "flip_vertical",
    "crop_pad",
    "rotate_scale",
    "affine",
    "perspective",
    "elastic",
)
_LIGHT = ("add", "gamma", "contrast", "color")
_BLUR = ("mean_blur", "median_blur", "gaussian_blur")
_NOISE = ("add_elementwise", "gaussian_noise")
NAMES = (*_GEOMETRY, "background", "occlusion", *_LIGHT, *_BLUR, *_NOISE, "jpeg")

# Nobody is upside down in a portrait. rotate_scale and affine, which share one warp, include the
# effect of crop_pad. elastic costs five times that warp and distorts faces unlike any lens.
DEFAULT = tuple(n for n in NAMES if n not in ("flip_vertical", "crop_pad", "elastic"))

BACKGROUND_SHARE = 0.5


def parse(spec: str) -> tuple[str, ...]:
    """Parses --augment into names of augmentations, in the order of `NAMES`.

    Args:
        spec: names separated by commas. "default", "all" and "none" are sets of names. A minus sign
            removes a name; if it comes first, from the default: "affine,gamma",
            "default,elastic,-jpeg", "-jpeg".

    Raises:
        UserError: a name is unknown; the message lists the known ones.
    """
    sets = {"default": DEFAULT, "all": NAMES, "none": ()} | {name: (name,) for name in NAMES}
    chosen = set(DEFAULT) if spec.strip().startswith("-") else set()
    for word in filter(None, (part.strip() for part in spec.split(","))):
        name = word.removeprefix("-")
        if name not in sets:
            raise UserError(
                f"unknown augmentation {name!r}: use default, all, none, or names of "
                f"{', '.join(NAMES)}; -NAME takes one away"
            )
        chosen = chosen - set(sets[name]) if word.startswith("-") else chosen | set(sets[name])
    return tuple(name for name in NAMES if name in chosen)


class Augmentation:
    """Augments batches of pictures and mattes; the same arguments give the same result anywhere.

    Args:
        names: some of `NAMES`.
        strength: a factor on the size of each augmentation (not on its frequency), 0 to 3. Blurs,
            noise and JPEG have a least size, which they keep at 0.
        backgrounds: photographs without people, uint8 (h, w, 3) RGB of any size, for `background`;
            without any, `background` does nothing.

    Raises:
        ValueError: an unknown name or a strength out of range.
    """

    def __init__(
        self,
        names: Sequence[str],
        strength: float = 1.0,
        backgrounds: np.ndarray | Sequence[np.ndarray] = (),
    ):
        if unknown := set(names) - set(NAMES):
            raise ValueError(f"unknown augmentations: {sorted(unknown)}")
        if not 0 <= strength <= 3:
            raise ValueError(f"strength must lie between 0 and 3, not {strength}")
        self.names = tuple(name for name in NAMES if name in names)
        self.strength = strength
        self.backgrounds = backgrounds if "background" in names else ()
        self._geometry = _geometry(self.names, strength)
        self._camera = _camera(self.names, strength)

    def __call__(
        self, images: np.ndarray, mattes: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns augmented copies.

        Args:
            images: uint8 (N, H, W, 3), RGB.
            mattes: uint8 (N, H, W), 255 = person.
            seed: any integer >= 0.

        Returns:
            images uint8 (N, H, W, 3) and mattes uint8 (N, H, W).
        """
        geometry, camera, replacing = map(int, np.random.SeedSequence(seed).generate_state(3))
        # The matte goes through the same augmenters as a one-channel image, started from the same
        # seed. imgaug's `heatmaps=` costs twice as much and fills what comes in from outside the
        # frame with 0 while the image goes on there; `segmentation_maps=` turns hair into stairs.
        # Lists, because imgaug copies an array at every branch and of a list only the references.
        self._geometry.seed_(geometry)
        pictures = self._geometry(images=list(images))
        self._geometry.seed_(geometry)
        mattes = np.stack(self._geometry(images=list(mattes[..., None])))[..., 0]

        if len(self.backgrounds):
            rng = np.random.default_rng(replacing)
            replaced = rng.random(len(pictures)) < BACKGROUND_SHARE
            # Without a person, nothing of the picture would be left.
            for i in np.flatnonzero(replaced & mattes.any(axis=(1, 2))):
                background = self.backgrounds[rng.integers(len(self.backgrounds))]
                pictures[i] = replace_background(
                    pictures[i], mattes[i], background, rng, self.strength
                )

        self._camera.seed_(camera)
        return np.stack(self._camera(images=pictures)), mattes


def _sometimes(share: float, augmenter: iaa.Augmenter) -> iaa.Augmenter:
    """Applies an augmenter to a share of the pictures.

    The list matters: imgaug treats a bare SomeOf or OneOf as the list of children. Then `seed_()`
    reaches its children but not itself, and its choices would differ at every call.
    """
    return iaa.Sometimes(share, [augmenter])


def _geometry(names: Sequence[str], strength: float) -> iaa.Sequential:
    """Augmenters that move pixels; none of them may depend on the number of channels."""
    steps = []
    if "flip_horizontal" in names:
        steps.append(iaa.Fliplr(0.5))
    if "flip_vertical" in names:
        steps.append(iaa.Flipud(0.5))
    if "crop_pad" in names:
        share = 0.1 * strength
        steps.append(_sometimes(0.5, iaa.CropAndPad(percent=(-share, share), pad_mode="reflect")))
    # Rotation, scale, shift and shear are one matrix, so one warp and one interpolation.
    motion = {}
    if "rotate_scale" in names:
        motion["rotate"] = iap.Clip(iap.Normal(0, 8 * strength), -20 * strength, 20 * strength)
        scale = iap.Normal(1.05, 0.15 * strength)
        motion["scale"] = iap.Clip(scale, 0.75**strength, 1.35**strength)
    if "affine" in names:
        shift, shear = 0.1 * strength, 6 * strength
        motion["translate_percent"] = {"x": (-shift, shift), "y": (-0.6 * shift, 0.6 * shift)}
        motion["shear"] = {"x": (-shear, shear), "y": (-shear, shear)}
    if motion:
        # A body that the frame cuts off continues beyond it, stretched or mirrored; black would
        # leave a floating torso. Both can look wrong (a streak above the hair, a second head), so
        # neither is used often enough to be learned.
        steps.append(_sometimes(0.8, iaa.Affine(**motion, mode=["edge", "reflect"], backend="cv2")))
    if "perspective" in names:
        corners = iaa.PerspectiveTransform(scale=(0.0, 0.06 * strength), mode="replicate")
        steps.append(_sometimes(0.1, corners))
    if "elastic" in names:
        waves = iaa.ElasticTransformation(
            alpha=(20.0 * strength, 80.0 * strength), sigma=8.0, mode="reflect"
        )
        steps.append(_sometimes(0.1, waves))
    return iaa.Sequential(steps)


def _camera(names: Sequence[str], strength: float) -> iaa.Sequential:
    """Augmenters of the image only: occluding objects, light, lens, sensor, compression."""
    light, blur, noise = (
        [_PHOTOMETRIC[name](strength) for name in group if name in names]
        for group in (_LIGHT, _BLUR, _NOISE)
    )
    steps = []
    if "occlusion" in names:
        steps.append(_sometimes(0.1, _PHOTOMETRIC["occlusion"](strength)))
    if light:
        steps.append(_sometimes(0.55, iaa.SomeOf((1, min(2, len(light))), light)))
    if blur:
        steps.append(_sometimes(0.1, iaa.OneOf(blur)))
    if noise:
        steps.append(_sometimes(0.06, iaa.OneOf(noise)))
    if "jpeg" in names:
        steps.append(_sometimes(0.08, _PHOTOMETRIC["jpeg"](strength)))
    return iaa.Sequential(steps)


def _color(strength: float) -> iaa.Augmenter:
    """Hue and saturation, or the colour temperature of the light.

    A gain for each channel is von Kries' model of another light; imgaug's ChangeColorTemperature
    fails on batches.
    """
    hue, gain = round(10 * strength), min(0.15 * strength, 1.0)
    saturation = (round(-60 * strength), round(40 * strength))
    return iaa.OneOf(
        [
            iaa.AddToHueAndSaturation(value_hue=(-hue, hue), value_saturation=saturation),
            iaa.Multiply((1 - gain, 1 + gain), per_channel=True),
        ]
    )


def _occlusion(strength: float) -> iaa.Augmenter:
    """One or two patches of one colour or of noise, up to a quarter of the frame's sides.

    The matte does not change, because a patch is an object in front of the scene. On the person it
    belongs to the person, like held objects in portrait data; on the background it is background;
    on the outline, the network has to continue the outline from its visible parts.
    """
    size = (0.05, min(0.05 + 0.2 * strength, 1.0))
    return iaa.OneOf(
        [
            iaa.Cutout(
                (1, 2),
                size=size,
                squared=False,
                fill_mode="constant",
                cval=(0, 255),
                fill_per_channel=True,
            ),
            iaa.Cutout(
                (1, 2), size=size, squared=False, fill_mode="gaussian", fill_per_channel=True
            ),
        ]
    )


_PHOTOMETRIC = {
    "occlusion": _occlusion,
    "add": lambda s: iaa.Add((round(-30 * s), round(30 * s))),
    "gamma": lambda s: iaa.GammaContrast((0.65**s, 1.6**s)),
    "contrast": lambda s: iaa.LinearContrast((max(1 - 0.3 * s, 0), 1 + 0.3 * s)),
    "color": _color,
    "mean_blur": lambda s: iaa.AverageBlur((2, 2 + round(2 * s))),
    "median_blur": lambda s: iaa.MedianBlur((3, 3 + 2 * round(s))),
    "gaussian_blur": lambda s: iaa.GaussianBlur((0.3, 0.3 + 1.4 * s)),
    "add_elementwise": lambda s: iaa.AddElementwise((round(-20 * s), round(20 * s))),
    "gaussian_noise": lambda s: iaa.AdditiveGaussianNoise(scale=(1, 1 + 11 * s), per_channel=0.5),
    "jpeg": lambda s: iaa.JpegCompression((30, min(30 + round(50 * s), 99))),
}
