"""Older portrait segmentation networks, one in each file, for comparison.

Like the other networks they take raw RGB 0..255 and return the alpha and the band along the
outline. `models/registry.py` lists them.
"""
