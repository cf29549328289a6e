"""The Fanlight protocol without input or output: bytes and events go in, messages and new states come out.

``codec`` and ``message`` fix the bytes; ``digests``, ``signing``, ``sealing``, ``merkle`` and ``log`` the cryptography;
``identities``, ``plan``, ``manifest``, ``report`` and ``closing`` the messages; ``contribution`` the vector;
``*_round`` hold the states, transition tables and records of the three roles, and ``device``, ``aggregator`` and
``main_server`` what they decide.
"""
