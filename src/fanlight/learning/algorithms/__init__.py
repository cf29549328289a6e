"""Server-side algorithms: how the mean of the devices' updates becomes the next model.

An algorithm is a record of two pure functions over frozen state::

    state = algorithm.init(parameters)            # (d,) float64
    state = algorithm.apply(state, mean_update)   # (d,) float64, the weighted mean of (local - global)

State can be kept and restored; nothing is changed in place. The form follows google/fedjax.
"""
