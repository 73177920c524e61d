"""The built-in sample, made from pictures that scikit-image ships."""
