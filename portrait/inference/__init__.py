"""Trained networks as functions from a picture to its alpha."""
