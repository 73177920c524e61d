"""Matting and compositing on arrays: trimaps, alpha refinement, foreground colours."""
