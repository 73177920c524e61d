"""Runs a `.tflite` file with one picture as its input on LiteRT, without TensorFlow."""

import os
import statistics
import time
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from portrait.backend import stderr_kept_back
from portrait.errors import UserError, first_line

_WARM_UP, _RUNS = 3, 20  # of `TfliteModel.latency`
_TYPES = (np.float32, np.uint8, np.int8)  # of inputs


class TfliteModel:
    """A model from a picture to an alpha or another picture.

    The input is (1, H, W, 3), or has up to two more channels, which are opaque by default. The
    result is the last output, (1, h, w, C). Both are float32 or quantised to 8 bits.

    Args:
        file: a path, or the bytes of a file.
        name: the name of the model in messages.
        threads: number of CPU threads.
        xnnpack: whether to use XNNPACK's kernels, the default on phones' CPUs, or LiteRT's own.
        keep_tensors: keep the outputs of all ops for `tensor`; needs `xnnpack=False`.

    Attributes:
        file: the bytes of the file.
        input_shape: (height, width).
        channels: the number of input channels, 3 to 5.
        output_shape: (height, width, channels).
        takes_floats: whether the input is float32, not quantised.
        interpreter: the LiteRT interpreter.

    Raises:
        UserError: the file does not exist, cannot be run, or has other inputs or outputs.
    """

    def __init__(
        self,
        file: str | os.PathLike | bytes,
        name: str,
        threads: int = 1,
        xnnpack: bool = True,
        keep_tensors: bool = False,
    ):
        self.name = name
        self.file = file if isinstance(file, bytes) else read_file(Path(file))
        if not self.file:  # LiteRT would say that there is no `model_path`
            raise UserError(f"{name}: the file is empty")
        kernels = OpResolverType.BUILTIN
        if not xnnpack:
            kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            with stderr_kept_back():  # LiteRT prints that it creates a delegate
                self.interpreter = Interpreter(
                    model_content=self.file,
                    num_threads=threads,
                    experimental_op_resolver_type=kernels,
                    experimental_preserve_all_tensors=keep_tensors,
                )
                self.interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise UserError(f"{name}: LiteRT cannot load it: {first_line(error)}") from error
        inputs = self.interpreter.get_input_details()
        if len(inputs) != 1:
            raise UserError(f"{name}: it has {len(inputs)} inputs, not one picture")
        self._taken, self._given = inputs[0], self.interpreter.get_output_details()[-1]
        shape, answer = (tuple(each["shape"].tolist()) for each in (self._taken, self._given))
        if len(shape) != 4 or shape[0] != 1 or shape[3] not in (3, 4, 5):
            raise UserError(f"{name}: the input is {_by(shape)}, not a picture (1xHxWx3 to 5)")
        if -1 in self._taken["shape_signature"][1:]:  # LiteRT would take pictures of 1 x 1
            raise UserError(f"{name}: the size of its input is not fixed")
        if self._taken["dtype"] not in _TYPES:
            kind = np.dtype(self._taken["dtype"]).name
            raise UserError(f"{name}: the input is {kind}, not float32, uint8 or int8")
        if len(answer) != 4 or answer[0] != 1:
            raise UserError(f"{name}: the output is {_by(answer)}, not a picture (1xHxWxC)")
        self.input_shape, self.channels, self.output_shape = shape[1:3], shape[3], answer[1:]
        self._steps = {
            each["index"]: each["quantization"]
            for each in self.interpreter.get_tensor_details()
            if each["quantization"][0]
        }
        self.takes_floats = self._taken["dtype"] == np.float32
        self.normalise(0.0, 1.0)

    def normalise(self, mean: float, std: float) -> None:
        """Sets the normalisation (pixel - mean) / std of the input of a float model."""
        self._mean, self._std = mean, std
        self._batch = self._to_input(np.full(self._taken["shape"], 255, np.float32))

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Runs the model.

        Args:
            pixels: (H, W, 3) or (H, W, `channels`), uint8 or float32, in the range that the model
                expects after `normalise`; 0..255 if the model is quantised.

        Returns:
            float32 of shape `output_shape`.

        Raises:
            UserError: the model cannot be run.
        """
        self._batch[0, :, :, : pixels.shape[2]] = self._to_input(pixels)
        self.interpreter.set_tensor(self._taken["index"], self._batch)
        try:
            self.interpreter.invoke()
            return self.tensor(self._given["index"])[0]
        except (RuntimeError, ValueError) as error:
            raise UserError(f"{self.name}: LiteRT cannot run it: {first_line(error)}") from error

    def tensor(self, index: int) -> np.ndarray:
        """Reads the values of a tensor after a run, float32.

        Args:
            index: the index of the tensor in the file. Without `keep_tensors` only the output's
                values are kept.
        """
        values = self.interpreter.get_tensor(index)
        if index not in self._steps:
            return values.astype(np.float32, copy=False)
        step, zero = self._steps[index]
        return (values.astype(np.float32) - zero) * np.float32(step)

    def latency(self) -> float:
        """The median time of 20 runs on this CPU in seconds, after 3 warm-up runs."""
        grey = self._to_input(np.full(self._taken["shape"], 128, np.float32))
        self.interpreter.set_tensor(self._taken["index"], grey)
        times = []
        for _ in range(_WARM_UP + _RUNS):
            start = time.perf_counter()
            self.interpreter.invoke()
            times.append(time.perf_counter() - start)
        return statistics.median(times[_WARM_UP:])

    def _to_input(self, pixels: np.ndarray) -> np.ndarray:
        """Converts pixels to the input: normalised floats, or bytes for a quantised model."""
        if self.takes_floats:
            plain = (self._mean, self._std) == (0, 1)
            return pixels if plain else (pixels - np.float32(self._mean)) / np.float32(self._std)
        lowest = np.iinfo(self._taken["dtype"]).min
        return (np.rint(pixels).clip(0, 255) + lowest).astype(self._taken["dtype"])


def read_file(path: Path) -> bytes:
    """Reads the bytes of a `.tflite` file.

    Raises:
        UserError: the file does not exist, or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
