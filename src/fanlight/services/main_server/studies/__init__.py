"""Simulations that the operator starts at the main server: processes of their own, each with a folder."""
