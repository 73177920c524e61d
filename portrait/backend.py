"""Starts Keras and its backend quietly, and says whether there is a GPU."""

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator

from portrait.errors import UserError, first_line

_STDERR = threading.RLock()  # the process has one; two threads would each restore the other's


@contextlib.contextmanager
def stderr_kept_back(shown_on_error: bool = True) -> Iterator[None]:
    """Keeps back what C++ code writes to stderr.

    Args:
        shown_on_error: whether it appears if the block raises an exception.
    """
    sys.stderr.flush()
    with _STDERR, tempfile.TemporaryFile() as kept, contextlib.ExitStack() as stack:
        stderr = os.dup(2)
        stack.callback(os.close, stderr)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            if shown_on_error:
                kept.seek(0)
                os.write(stderr, kept.read())
            raise
        finally:
            os.dup2(stderr, 2)


def start_keras() -> None:
    """Imports Keras and its backend, and has TensorFlow look for its devices.

    TF_CPP_MIN_LOG_LEVEL silences only part of it, at 3 its errors, too: those that matter come as
    exceptions, but each graph of MattingNet, for one, has it say that an optimisation was passed
    over. Set that variable to 0 to see everything.

    TensorFlow's convolutions are oneDNN's where the processor has AVX-512, and its own elsewhere,
    where oneDNN's are faster, too: a training step of SelfieNet takes 0.65 of the time with AVX2.

    Raises:
        UserError: the backend, which KERAS_BACKEND may name, is not installed.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    shown = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "0"
    with contextlib.nullcontext() if shown else stderr_kept_back(shown_on_error=False):
        try:
            import keras

            if keras.backend.backend() == "tensorflow":
                import tensorflow as tf

                tf.config.list_physical_devices()
        except (ImportError, ValueError) as error:  # not installed; no backend of Keras
            chosen = os.environ.get("KERAS_BACKEND", "of ~/.keras/keras.json")
            raise UserError(
                f"the Keras backend {chosen} cannot start: {first_line(error)}"
            ) from error


def has_gpu() -> bool:
    """Whether Keras's backend computes on a GPU."""
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    if backend == "jax":
        import jax

        return jax.default_backend() == "gpu"
    return False
