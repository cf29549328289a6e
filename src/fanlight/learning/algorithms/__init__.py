"""Federated algorithms: how a device trains in a round, and how the mean of the devices becomes the next model.

Each is one file, with a record of pure functions over frozen state (the form follows google/fedjax)::

    algorithm = fedprox(mu=0.01)
    outcome = algorithm.local(received, memory, descend)    # on a device: what it sends, what it keeps
    state = algorithm.apply(state, gathered)                # on the main server: the next model

Vocabulary: *parameters* are the model as one vector w, (d,) float64. A device's *update* is its local w less the
received one, before clipping; *gathered* is what the sum of a round says, above all the mean update, weighted by
training pictures. *Memory* are named vectors that an algorithm keeps from round to round: the server's belongs to a
version of the model, a device's advances only when its report was in the sum of a released round. ``descend`` is local
training, handed in: softmax on pictures in a device, a formula in a test.

``registry`` finds an algorithm by the name that a task gives; nothing else goes by names.
"""
