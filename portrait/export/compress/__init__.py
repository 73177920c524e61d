"""Pruning, clustering and quantisation-aware training, by tfmot."""
