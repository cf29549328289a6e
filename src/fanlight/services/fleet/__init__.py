"""Simulated devices at live servers: hundreds of members in one process, each with keys of its own.

A device of a fleet does over HTTP what a deployed one does, by the same machine and the same client. What it learns
from is its part of a study's pictures, and it learns by the code of simulated devices. It has no pages, no owner and no
database: the study says what it has, the command's options what it allows.

``tokens`` and ``terms`` read what was asked for; ``lesson`` is what a version has everybody do, ``lessons`` those that
were fetched; ``device`` is one device, ``diary`` what it keeps; ``attendance`` says who is there, ``gang`` are those
that cheat; ``journal`` sees what becomes of rounds; ``fleet`` has all of them live; ``connecting`` joins these.
"""
