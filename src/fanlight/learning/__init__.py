"""Pictures in, a better head out. Knows nothing of wires, servers or rounds.

Each submodule is imported by its own name; this file imports none of them, so that a server, which needs
``model_file`` and ``algorithms``, never loads ONNX Runtime, which only ``features`` and ``inference`` need.
"""
