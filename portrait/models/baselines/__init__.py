"""The networks that portrait segmentation grew from, one a file, to compare with.

All take raw RGB 0..255 and give the alpha and the band along the outline, as the others do:
`models.py` has their names.
"""
