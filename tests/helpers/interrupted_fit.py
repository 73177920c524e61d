"""A `fit` that Ctrl-C ends in the middle of an epoch, as in a notebook or a script of a user."""

import os
import signal
import threading
import time

import keras
import numpy as np

from data_generator import PortraitSequence


def slow(images, mattes, seed):
    time.sleep(0.05)
    return images, mattes


def interrupt(epoch, logs):
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()


if __name__ == "__main__":
    inputs = keras.Input((32, 24, 3))
    outputs = keras.layers.Conv2D(1, 1, name="output")(inputs)
    model = keras.Model(inputs, {"output": outputs})
    model.compile("adam", {"output": "mse"})
    zeros = np.zeros((400, 32, 24, 3), np.uint8)
    batches = PortraitSequence(zeros, zeros[..., 0], 4, slow, workers=2, targets=["output"])
    stop = keras.callbacks.LambdaCallback(on_epoch_begin=interrupt)
    try:
        model.fit(batches, epochs=9, shuffle=False, verbose=0, callbacks=[stop])
    except KeyboardInterrupt:
        print("interrupted")
