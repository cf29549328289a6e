"""The Fanlight protocol without input or output: bytes and events go in, messages and new states come out.

``codec`` and ``message`` fix the bytes; ``digests``, ``signing``, ``sealing``, ``merkle`` and ``log`` the cryptography;
``identities``, ``plan``, ``manifest``, ``report`` and ``closing`` the messages; ``contribution`` the vector;
``device``, ``aggregator`` and ``main_server`` are the state machines of the three roles.
"""
