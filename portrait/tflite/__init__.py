"""Reads, writes and runs .tflite files, without TensorFlow and Keras."""
