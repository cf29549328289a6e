"""Pure arithmetic: named tensors, ring, quantisation, masks, clipping, metrics.

Nothing here reads a file, a clock or the operating system's randomness; generators are passed in.
"""
