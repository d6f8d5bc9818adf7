# Follow the place of pixel i back to the image: it is scale * i + shift, and
# every layer changes both. Halves and quarters come up: are they exact?
#
# For each list go through the layers from the first to the last, beginning
# with scale = 1, shift = 0. A layer's output pixel i lies at a * i + b of its
# input, so at scale * (a * i + b) + shift of the image. Then offset = (shift of
# smaller - shift of larger) / scale. Fractions keep all of it exact.

from fractions import Fraction


def place(layers):
    scale, shift = Fraction(1), Fraction(0)
    for kind, kernel, stride, padding in layers:
        middle = Fraction(kernel - 1, 2)
        if kind == "deconv":
            a, b = Fraction(1, stride), (padding - middle) / stride
        else:
            a, b = Fraction(stride), middle - padding
        scale, shift = scale * a, scale * b + shift
    return scale, shift


def crop_offset(larger, smaller):
    scale, shift = place(larger)
    return int((place(smaller)[1] - shift) / scale)
