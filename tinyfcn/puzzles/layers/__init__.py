"""The first ladder: layers in NumPy, forward and backward."""
