"""RobustVideoMatting as a peer: its ONNX file on ONNX Runtime, which is not in requirements.txt."""

from pathlib import Path

import numpy as np

from portrait.errors import UserError
from portrait.io.images import resize

SIDE = 512  # the longest side at which the authors recommend to run it
_STRIDE = 16  # of its encoder


class RobustVideoMatting:
    """RobustVideoMatting (Lin et al., 2108.11515; GPL-3) on one thread, for successive frames.

    Args:
        file: the ONNX file of the authors, such as rvm_mobilenetv3_fp32.onnx.

    Raises:
        UserError: onnxruntime is not installed, or cannot read the file.
    """

    def __init__(self, file: str | Path):
        try:
            import onnxruntime
        except ImportError as error:
            raise UserError(f"{file} needs onnxruntime: pip install onnxruntime") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(
                str(file), options, ["CPUExecutionProvider"]
            )
        except Exception as error:
            raise UserError(f"{file}: not a file that onnxruntime reads") from error
        self.forget()

    def forget(self) -> None:
        """Clears the memory of earlier frames."""
        self._memory = [np.zeros([1, 1, 1, 1], np.float32)] * 4

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """The alpha of the next frame, float32 (H, W), 0..1, from uint8 RGB (H, W, 3)."""
        _, alpha, *self._memory = self.run(self.inputs(frame))
        return alpha[0, 0]

    def inputs(self, frame: np.ndarray) -> dict[str, np.ndarray]:
        """The network's inputs for the next frame, uint8 RGB (H, W, 3)."""
        ratio = np.float32([min(1.0, SIDE / max(frame.shape))])
        inputs = {f"r{number}i": each for number, each in enumerate(self._memory, 1)}
        inputs |= {"src": np.float32(frame.transpose(2, 0, 1)[None] / 255)}
        return inputs | {"downsample_ratio": ratio}

    def run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs of the bare network: foreground, alpha and the new memory."""
        return self._session.run([], inputs)

    def matte(self, photo: np.ndarray) -> np.ndarray:
        """The alpha of a photograph, float32 (H, W), 0..1, from uint8 RGB (H, W, 3).

        The photograph is resized to a longest side of `SIDE`, and earlier frames are forgotten.
        """
        scale = SIDE / max(photo.shape)
        shape = [max(1, round(side * scale / _STRIDE)) * _STRIDE for side in photo.shape[:2]]
        self.forget()
        return resize(self(resize(photo, tuple(shape))), photo.shape[:2]).clip(0, 1)
