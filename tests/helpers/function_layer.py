"""A layer that applies any function to tensors, for networks with ops that no Keras layer has."""

import keras


class FunctionLayer(keras.layers.Layer):
    """Applies `function` to its input."""

    def __init__(self, function, name):
        super().__init__(name=name)
        self.function = function

    def call(self, x):
        return self.function(x)
