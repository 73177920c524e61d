"""Measures the alphas of videos whose true alpha is known.

python benchmarks/video_alpha.py --cutouts=DIR --photos=A.jpg,B.jpg,C.jpg
python benchmarks/video_alpha.py --cutouts=DIR --photos=A.jpg,B.jpg,C.jpg --rvm=FILE.onnx
python benchmarks/video_alpha.py --cutouts=DIR --photos=A.jpg,B.jpg,C.jpg --model=NAME,RUN

The clips are made from people with exact alpha (RGBA pictures), who move, turn and breathe in front
of photographs: `slow` (much hair), `fast` (strides, motion blur, a camera that pans), `portrait`
(upright), `small` (a person of a quarter of the height), `cut` (another person and place every 50
frames) and `still` (a camera on a tripod, also measured with its clean plate). They pass through
H.264. Each alpha is computed from the decoded frames, as apply.py does. A network that takes the
alpha of the frame before (`previous`) is also measured without it.

MAD x1e3 and dtSSD (lower is better; `after` is the MAD of the first frame after a cut) and the CPU
time of the alpha in ms for each frame. --rvm compares with RobustVideoMatting's ONNX file
(rvm_mobilenetv3_fp32.onnx, GPL-3) and needs onnxruntime, which is not in requirements.txt.
"""

import dataclasses
import functools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
from absl import flags
from tqdm import tqdm

from benchmarks.examined import some_images
from benchmarks.robust_video_matting import RobustVideoMatting
from metrics import dt_ssd
from portrait import cli
from portrait.data.cutouts import read_cutout
from portrait.effects.video_matting import VideoMatter
from portrait.errors import UserError
from portrait.inference import network as networks
from portrait.inference.network import Network
from portrait.io.images import read_image, shrink
from portrait.io.video_frames import Frame
from portrait.io.video_reader import open_video
from portrait.io.video_writer import VideoWriter
from portrait.matting.compositing import fill
from portrait.matting.plate import Plate

FLAGS = flags.FLAGS
flags.DEFINE_string("cutouts", "", "A folder of people with exact alpha: RGBA pictures.")
flags.DEFINE_list("photos", [], "Photographs without people, the backgrounds.")
flags.DEFINE_list("model", [networks.DEFAULT], "The networks, as for apply.py.")
flags.DEFINE_list("people", ["9", "26", "2", "20"], "Which pictures of --cutouts, from 0.")
flags.DEFINE_list("clips", [], "Some of the clips; default: all.")
flags.DEFINE_integer("frames", 200, "Frames of each clip.", 2)
flags.DEFINE_string("only", "", "Measure only methods whose name contains this.")
flags.DEFINE_string("rvm", "", "RobustVideoMatting's ONNX file, to compare with.")
flags.DEFINE_string("sheet", "", "Write frames with their alphas to this PNG.")

_WIDE = 1.4  # longest side of a cut-out / its height
_CUT = 50  # frames between the cuts of `cut`


@dataclasses.dataclass(frozen=True)
class Motion:
    """How a clip moves. Lengths are shares of the picture's height.

    Attributes:
        size: (width, height) of the clip.
        height: of the cut-out.
        sway: the largest distance of the person from the middle.
        period: of the sway, in frames.
        turn: the largest angle, in degrees.
        pan: the largest distance of the camera.
        exposure: sub-frames that are averaged.
    """

    size: tuple[int, int] = (640, 360)
    height: float = 0.85
    sway: float = 0.12
    period: float = 120.0
    turn: float = 3.0
    pan: float = 0.03
    exposure: int = 1


MOTIONS = {
    "slow": Motion(),
    "fast": Motion(sway=0.45, period=40, turn=8, pan=0.2, exposure=5),
    "portrait": Motion(size=(360, 640), height=0.62, sway=0.08, period=90),
    "small": Motion(height=0.25, sway=0.5, period=150, pan=0.1),
    "cut": Motion(sway=0.15, period=80, pan=0.05),
    "still": Motion(sway=0.2, period=60, pan=0.0),
}


class Scene:
    """A person before a photograph, at any time.

    Args:
        cutout: the file of a person.
        photo: the photograph, uint8 RGB.
        motion: how they move.
    """

    def __init__(self, cutout: Path, photo: np.ndarray, motion: Motion):
        colours, alpha = read_cutout(cutout)
        person = np.dstack([colours * alpha[..., None], alpha]).astype(np.float32)
        self._person = shrink(person, round(1.2 * motion.height * motion.size[1] * _WIDE))
        self._motion = motion
        width, height = motion.size
        room = round(2 * motion.pan * height) + 2
        self._wall = fill(photo, (height + room, width + room)).astype(np.float32)

    def wall(self, time: float) -> np.ndarray:
        """The background, float32 (H, W, 3)."""
        width, height = self._motion.size
        phase = 2 * np.pi * time / (1.7 * self._motion.period)
        reach = self._motion.pan * height
        middle = (self._wall.shape[1] - 1) / 2, (self._wall.shape[0] - 1) / 2
        centre = middle[0] + reach * np.sin(phase), middle[1] + 0.3 * reach * np.cos(phase)
        return cv2.getRectSubPix(self._wall, (width, height), centre)

    def at(self, time: float) -> tuple[np.ndarray, np.ndarray]:
        """The picture, float32 (H, W, 3) 0..255, and the matte, float32 (H, W) 0..1."""
        width, height = self._motion.size
        rows, columns = self._person.shape[:2]
        phase = 2 * np.pi * time / self._motion.period
        scale = self._motion.height * height / rows * (1 + 0.02 * np.sin(1.3 * phase))
        angle = self._motion.turn * np.sin(0.8 * phase + 1)
        place = cv2.getRotationMatrix2D((columns / 2, rows), angle, scale)
        foot = 1.01 * height if self._motion.height > 0.5 else 0.75 * height
        place[:, 2] += (
            width / 2 + self._motion.sway * height * np.sin(phase) - columns / 2,
            foot + 0.01 * height * np.sin(2.1 * phase) - rows,
        )
        moved = cv2.warpAffine(
            _waved(self._person, phase), place, (width, height), flags=cv2.INTER_AREA
        )
        matte = moved[..., 3].clip(0, 1)
        return moved[..., :3] + (1 - matte[..., None]) * self.wall(time), matte

    def frame(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """A frame with motion blur."""
        count = self._motion.exposure
        parts = [self.at(index + 0.5 * part / count) for part in range(count)]
        return tuple(np.mean(each, axis=0) for each in zip(*parts, strict=True))


def _waved(person: np.ndarray, phase: float) -> np.ndarray:
    """Moves the upper part a little from side to side, as hair and heads do."""
    rows, columns = person.shape[:2]
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    loose = (1 - y / (0.8 * rows)).clip(0, 1)
    x += loose * np.float32(0.012 * columns) * np.sin(y / np.float32(0.15 * rows) + 2 * phase)
    return cv2.remap(person, x.astype(np.float32), y, cv2.INTER_LINEAR)


def frames_of(
    name: str, people: Sequence[Path], photos: Sequence[np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The pictures, uint8, and mattes of a clip, with film grain."""
    random = np.random.default_rng(0)
    first = list(MOTIONS).index(name)
    for index in range(FLAGS.frames):
        scene_index = first + (index // _CUT if name == "cut" else 0)
        if index == 0 or (name == "cut" and index % _CUT == 0):
            scene = Scene(
                people[scene_index % len(people)], photos[scene_index % len(photos)], MOTIONS[name]
            )
        image, matte = scene.frame(index)
        grain = random.normal(0, 2, image.shape).astype(np.float32)
        yield (image + grain).clip(0, 255).astype(np.uint8), matte


def write_clip(path: Path, frames: Iterator[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Writes a clip, and returns its mattes, float32 (T, H, W)."""
    writer, mattes = None, []
    for index, (image, matte) in enumerate(frames):
        writer = writer or VideoWriter(path, image.shape, Fraction(1, 30), Fraction(30))
        writer.write(Frame(image, index))
        mattes.append(matte)
    writer.close()
    return np.stack(mattes)


def methods_of(network: Network, plate: Plate | None) -> dict[str, Callable]:
    """The ways to use a network, by name; `plate` is the clean plate of the clip, if it has one."""
    alone = dataclasses.replace(network, takes_previous=False)
    methods = {
        "each frame alone": VideoMatter(alone, smooth=False),
        "smooth": VideoMatter(alone),
        "smooth, learned": VideoMatter(alone, refine="learned"),
    }
    if network.takes_previous:
        methods["previous"] = VideoMatter(network, smooth=False)
        methods["previous, smooth"] = VideoMatter(network)
    if plate:
        methods["smooth, with plate"] = VideoMatter(alone, plate=plate)
    return {name: matter.alphas for name, matter in methods.items()}


def measure(
    name: str,
    path: Path,
    mattes: np.ndarray,
    matted: Callable[[Iterator[np.ndarray]], Iterator[np.ndarray]],
) -> tuple[str, np.ndarray]:
    """Runs a method over a clip; a row of the table, and the alphas."""
    images = [frame.image for frame in open_video(path)]
    start = time.process_time()
    alphas = np.stack(list(matted(iter(images))))
    cpu = time.process_time() - start
    mad = 1000 * np.abs(alphas - mattes).mean(axis=(1, 2))
    row = f"{mad.mean():9.2f}{dt_ssd(alphas, mattes):9.2f}{1000 * cpu / len(alphas):9.1f}"
    return row + (
        f"{mad[_CUT::_CUT].mean():9.2f}" if name == "cut" and len(mad) > _CUT else ""
    ), alphas


def main() -> None:
    """Prints the table."""
    if not FLAGS.cutouts or not FLAGS.photos:
        raise UserError("give --cutouts=DIR and --photos=A.jpg,B.jpg")
    files = some_images(FLAGS.cutouts)
    people = [files[int(index) % len(files)] for index in FLAGS.people]
    photos = [read_image(path) for path in FLAGS.photos]
    models = {name: networks.load(name) for name in FLAGS.model}
    rows: list[np.ndarray] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in FLAGS.clips or MOTIONS:
            path = Path(folder, f"{name}.mp4")
            frames = tqdm(frames_of(name, people, photos), name, FLAGS.frames, leave=False)
            mattes = write_clip(path, frames)
            plate = None
            if name == "still":
                first = list(MOTIONS).index(name)
                wall = Scene(people[0], photos[first % len(photos)], MOTIONS[name]).wall(0)
                plate = Plate(wall.astype(np.uint8))
            methods = {
                f"{model}: {method}": matted
                for model, network in models.items()
                for method, matted in methods_of(network, plate).items()
            }
            if FLAGS.rvm:
                methods["RobustVideoMatting"] = functools.partial(
                    map, RobustVideoMatting(FLAGS.rvm)
                )
            width = max(map(len, methods))
            if not rows:
                print(f"{'':{width + 9}}{'MAD':>9}{'dtSSD':>9}{'CPU ms':>9}{'after':>9}")
            for method, matted in methods.items():
                if FLAGS.only not in method:
                    continue
                row, alphas = measure(name, path, mattes, matted)
                print(f"{name:9}{method:{width}}{row}", flush=True)
                rows.append(_strip(path, alphas))
    if not rows:
        raise UserError(f"--only={FLAGS.only}: there is no such method")
    if FLAGS.sheet:
        cv2.imwrite(FLAGS.sheet, np.vstack(rows)[..., ::-1])


def _strip(path: Path, alphas: np.ndarray) -> np.ndarray:
    """Four frames of a clip with their alphas, reduced to a common height."""
    shown = []
    wanted = np.linspace(0, len(alphas) - 1, 4).astype(int)
    for index, frame in enumerate(open_video(path)):
        if index in wanted:
            alpha = cv2.merge([np.rint(alphas[index] * 255).astype(np.uint8)] * 3)
            shown += [fill(each, (180, 240)) for each in (frame.image, alpha)]
    return np.hstack(shown)


if __name__ == "__main__":
    cli.run(main, ["model"])
