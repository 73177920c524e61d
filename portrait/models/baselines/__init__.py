"""Older portrait segmentation networks for comparison, one per file.

They have the same inputs and outputs as the other networks: raw RGB 0..255, the alpha and the band
along the outline. `models/registry.py` lists them.
"""
