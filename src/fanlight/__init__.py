"""Federated learning for fleets of cameras under split-trust secure aggregation."""

__version__ = "0.1.0"
