"""Starts Keras and its backend quietly, and says whether there is a GPU."""

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator

from portrait.errors import UserError, first_line

_STDERR = threading.RLock()  # stderr belongs to the process: only one thread may redirect it


@contextlib.contextmanager
def stderr_kept_back(shown_on_error: bool = True) -> Iterator[None]:
    """Hides output of C++ code on stderr.

    Args:
        shown_on_error: whether to show the output if the block raises an exception.
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
    """Imports Keras and its backend without their messages, and finds TensorFlow's devices.

    TF_CPP_MIN_LOG_LEVEL is set to 3, which hides TensorFlow's logged errors, too. Important errors
    are raised as exceptions; a logged one is for example that an optimisation of MattingNet's graph
    was skipped. Set the variable to 0 to see all messages.

    TensorFlow uses oneDNN's convolutions by default only on processors with AVX-512. They are
    enabled on others, too: with AVX2, a training step of SelfieNet takes 0.65 of the time.

    Raises:
        UserError: the backend, which can be chosen with KERAS_BACKEND, is not installed.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    shown = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "0"
    with contextlib.nullcontext() if shown else stderr_kept_back(shown_on_error=False):
        try:
            import keras

            if keras.backend.backend() == "tensorflow":
                import tensorflow as tf

                tf.config.list_physical_devices()
        except (ImportError, ValueError) as error:  # not installed; not a backend
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


def mirrored(devices: int):
    """TensorFlow's strategy that trains on the first `devices` GPUs, or CPUs if there are none.

    Raises:
        UserError: there are fewer.
    """
    import tensorflow as tf

    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(found) < devices:
        raise UserError(
            f"--devices={devices}: TensorFlow finds {len(found)} here ({found[0].device_type})"
        )
    return tf.distribute.MirroredStrategy([each.name for each in found[:devices]])
