"""Trains the transform network on photographs, in a run's folder (see `training.run`)."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from portrait.errors import UserError, warn_skipped
from portrait.io.images import PictureError, read_image, write_png
from portrait.io.sheets import grid
from portrait.models import vgg16
from portrait.style_transfer import transform_net
from portrait.style_transfer.crops import (
    SHIFT,
    PhotoCrops,
    batch,
    centre_crop,
    find_photos,
    hold_out,
    move,
)
from portrait.style_transfer.mixes import style_names
from portrait.style_transfer.perceptual import (
    TERMS,
    PerceptualLoss,
    Weights,
    instability,
    read_paintings,
)
from portrait.training.callbacks import Checkpointer, go_on
from portrait.training.recipe import Recipe, make_optimizer
from portrait.training.run import Progress, Run

VALIDATION_PHOTOS = 8
COPYING_STEPS = 300

Loss = Callable[..., dict]


def train_style(
    style_image: Sequence[str | Path],
    data: Sequence[str | Path],
    *,
    vgg_weights: str = "",
    model_size: str = "small",
    style_size: int = 512,
    content_weight: float = 2.0,
    style_weight: float = 8.0,
    tv_weight: float = 10.0,
    stability_weight: float = 40.0,
    crop: int = 256,
    nb_epoch: int = 40,
    steps: int = 100,
    batch_size: int = 2,
    lr: float = 0.002,
    mixed_precision: str = "none",
    seed: int = 0,
    checkpoint_path: str = "trained_models/style",
    run: Run | None = None,
) -> Path:
    """Trains a network that paints like one or more paintings.

    Args:
        style_image: files of paintings, one per style.
        data: folders of photographs. Eight of them are used for validation, the rest for training.
        vgg_weights: file of VGG16's weights, see `vgg16.conv_weights`.
        model_size: a key of `transform_net.CHANNELS`.
        style_size: longer side of the paintings in pixels; larger paintings give larger strokes.
        content_weight: weight of the content loss.
        style_weight: weight of the style loss.
        tv_weight: weight of the total variation loss.
        stability_weight: weight of the difference between the painted photograph and the same
            photograph painted after a small movement, with noise; for videos.
        crop: height and width of the crops of photographs in pixels.
        nb_epoch: number of epochs.
        steps: batches in an epoch.
        batch_size: crops in a batch.
        lr: the highest learning rate.
        mixed_precision: "bfloat16" computes VGG16 in this precision; "none": in float32.
        seed: of weights and crops, at least 0.
        checkpoint_path: folder in which the run's folder is made.
        run: a run to continue, with the arguments that it was started with; None starts a new one.

    Returns:
        The checkpoint of the best epoch.

    Raises:
        UserError: a painting, the photographs or the weights cannot be read; `run` has other
            styles; the loss is no longer a number; nothing can be written.
        KeyboardInterrupt: with the command that resumes the run as its text.
    """
    flags = {name: value for name, value in locals().items() if name != "run"}
    names = style_names(style_image)
    _check_styles(run, names)
    learn, held_out = hold_out(find_photos(data), VALIDATION_PHOTOS)
    weights = vgg16.conv_weights(vgg_weights)
    keras.utils.set_random_seed(seed)
    network = transform_net.build(size=model_size, styles=len(names))
    terms = Weights(content_weight, style_weight, tv_weight)
    precision = "float32" if mixed_precision == "none" else f"mixed_{mixed_precision}"
    loss = PerceptualLoss(read_paintings(style_image, style_size), weights, terms, precision)
    crops = PhotoCrops(learn, crop, batch_size, steps, len(names), seed)
    resume = run is not None
    paths = {name: list(map(str, flags[name])) for name in ("style_image", "data")}
    settings = {"flags": flags | paths, "styles": names}
    if not resume:
        begun = {"command": sys.argv, **settings, "keras": keras.__version__}
        run = Run.create(checkpoint_path, begun)
    print(
        f"{network.name}: {', '.join(names)}; {len(learn)} photos for training, {len(held_out)} "
        f"for validation; run folder {run.folder}"
    )
    recipe = Recipe(epochs=nb_epoch, lr=lr, patience=0)
    try:
        best = train(
            *(network, loss, crops, held_out, names, run, recipe),
            changes=settings if resume else None,
            resume=resume,
            stability_weight=stability_weight,
        )
    except KeyboardInterrupt:
        command = f"stylize.py --resume=True --checkpoint_path={run.folder}"
        raise KeyboardInterrupt(f"{command} continues the training") from None
    print(f"best checkpoint: {best}")
    return best


def _check_styles(run: Run | None, names: list[str]) -> None:
    if run and names != (began := run.settings().get("styles", names)):
        raise UserError(
            f"{run.folder} was started with the styles {', '.join(began)}: it cannot continue with "
            f"{', '.join(names)}"
        )


class PaintingTrainer(keras.Model):
    """The transform network with its losses, for `fit`; it shares the network's weights.

    Args:
        network: as `transform_net.build` makes it.
        loss: `perceptual.PerceptualLoss`, or a function with the same arguments.
        stability_weight: the weight of `perceptual.instability`.
    """

    def __init__(self, network: keras.Model, loss: Loss, stability_weight: float):
        super().__init__(network.input, network.output, name=network.name)
        self._terms_of = loss
        self._stability_weight = stability_weight
        self._means = [keras.metrics.Mean(name=name) for name in (*TERMS, "stability")]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Returns the sum of the weighted terms, and records each term as a metric."""
        terms = self._terms_of(x["image"], y_pred, x["mix"])
        count = keras.ops.shape(y["moved"])[0]  # the first pictures of the batch have moved
        moved = self({"image": y["moved"], "mix": x["mix"][:count]}, training=training)
        change = instability(y_pred[:count], moved, y["shift"][0], SHIFT)
        terms["stability"] = self._stability_weight * keras.ops.mean(change)
        for mean in self._means:
            mean.update_state(terms[mean.name])
        return sum(terms.values())


def train(
    network: keras.Model,
    loss: Loss,
    crops: PhotoCrops,
    validation: Sequence[Path],
    names: Sequence[str],
    run: Run,
    recipe: Recipe,
    resume: bool = False,
    stability_weight: float = 0.0,
    changes: dict | None = None,
) -> Path:
    """Trains `network` and leaves checkpoints, history, previews and state in the folder of `run`.

    With `resume`, it continues after the last complete epoch of `run`.

    Args:
        network: from `transform_net.build`, with its styles in the order of `names`.
        loss: see `PaintingTrainer`.
        crops: the training batches.
        validation: other photographs. Previews show each of them in every style; the validation
            loss takes the styles in turn. Unreadable ones are skipped.
        names: the names of the styles.
        run: the run to write to.
        recipe: epochs, learning rate, schedule, moving average.
        resume: continue `run`.
        stability_weight: see `PaintingTrainer`.
        changes: entries of run.json that a resumed run replaces.

    Returns:
        The checkpoint of the best epoch. `network` ends with its weights.

    Raises:
        UserError: no photograph can be read; the loss is no longer a number; a file cannot be
            written; nothing to resume.
    """
    photos = _read_crops(validation, crops.size)
    with run.lock():
        if not (resume and run.has_state()):
            learn_to_copy(network, crops, recipe.lr)
        trainer = PaintingTrainer(network, loss, stability_weight)
        trainer.compile(make_optimizer(recipe, len(crops)), jit_compile=False)
        trainer.optimizer.build(trainer.trainable_variables)
        progress = go_on(run, trainer, recipe, resume, changes)
        trainer.fit(
            crops,
            validation_data=FixedBatches(photos, len(names), crops.batch_size),
            epochs=recipe.epochs,
            initial_epoch=progress.epoch,
            shuffle=False,
            callbacks=PaintingCheckpointer(run, recipe, progress, crops, photos, names).callbacks,
            # A progress bar in a terminal, one line for each epoch in a log file.
            verbose=1 if sys.stdout.isatty() else 2,
        )
    return run.load_checkpoint(network, progress.best_epoch)


def _read_crops(paths: Sequence[Path], size: int) -> list[np.ndarray]:
    """The central square of each readable photograph, uint8 (size, size, 3)."""
    photos, unreadable = [], []
    for path in paths:
        try:
            photos.append(centre_crop(read_image(path), size))
        except PictureError as error:
            unreadable.append(str(error))
    if not photos:
        raise UserError("no photograph to validate can be read: " + "; ".join(unreadable))
    warn_skipped(unreadable, "photographs left out of the validation ({count}): {names}")
    return photos


def learn_to_copy(network: keras.Model, crops: PhotoCrops, lr: float) -> None:
    """Trains fresh weights to reproduce photographs, which is cheap without VGG16.

    A network that paints from random weights learns the colours of a painting before it learns
    where to put them, and often swaps dark and light permanently.
    """
    network.compile(keras.optimizers.Adam(lr), loss="mse", jit_compile=False)
    for step in tqdm(range(COPYING_STEPS), "copying", unit=" steps", disable=None):
        inputs, _ = crops[step]
        network.train_on_batch(inputs, inputs["image"])


class FixedBatches(keras.utils.PyDataset):
    """The photographs and the styles in turn, once each; the same in every epoch."""

    def __init__(self, photos: Sequence[np.ndarray], styles: int, batch_size: int):
        super().__init__()
        turns = np.arange(max(len(photos), styles))
        self.photos = [photos[turn % len(photos)] for turn in turns]
        self.mix = np.eye(styles)[turns % styles]
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.photos) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        part = slice(index * self.batch_size, (index + 1) * self.batch_size)
        inputs = batch(self.photos[part], self.mix[part])
        return inputs, move(inputs["image"][:1], np.random.default_rng(index))


class PaintingCheckpointer(Checkpointer):
    """Sets the epoch of `crops`, and draws the held-out photographs in every style."""

    def __init__(
        self,
        run: Run,
        recipe: Recipe,
        progress: Progress,
        crops: PhotoCrops,
        photos: Sequence[np.ndarray],
        names: Sequence[str],
    ):
        super().__init__(run, recipe, progress)
        self._crops = crops
        self._photos = photos
        self._names = names

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        super().on_epoch_begin(epoch, logs)
        self._crops.epoch = epoch

    def draw(self) -> None:
        columns = [self._photos]
        for mix in np.eye(len(self._names)):
            inputs = batch(self._photos, np.tile(mix, (len(self._photos), 1)))
            painted = np.asarray(self.model.predict_on_batch(inputs))
            columns.append(list(np.rint(painted).astype(np.uint8)))
        sheet = grid(list(zip(*columns, strict=True)), ("photo", *self._names), repeat=2)
        write_png(self.run.folder / "previews" / f"epoch_{self.progress.epoch:04}.png", sheet)
