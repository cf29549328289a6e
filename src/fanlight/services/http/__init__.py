"""The web foundation that the three roles share; no rule of any role lives here.

``application`` puts the parts together in the right order: ``problems`` (one shape for every error), ``headers``,
``hosts`` and ``limits`` (what a browser or a stranger may do), ``sessions`` (the owner's login), ``signing``,
``signatures`` and ``bodies`` (requests of devices and of the other server), ``jobs``, ``waiting`` and ``logging``.
"""
