"""A layer of any function on tensors, for networks with ops that no Keras layer makes."""

import keras


class FunctionLayer(keras.layers.Layer):
    """Applies `function` to its input."""

    def __init__(self, function, name):
        super().__init__(name=name)
        self.function = function

    def call(self, x):
        return self.function(x)
