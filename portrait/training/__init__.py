"""Trains a network on batches and keeps everything in the folder of a run."""
