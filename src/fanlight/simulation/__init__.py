"""A laboratory of thousands of devices in one process: who has what, in which world, attacked by whom."""
