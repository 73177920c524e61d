"""Trains a network on batches, and writes all results into the folder of a run."""
