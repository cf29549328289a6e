"""Devices that do not do what is asked of them, as the literature has them: one file an attack.

An attack poisons what its devices learn from (labels, pictures), or what they send. Those that take part in a round
know one another's honest updates, and nobody else's. What they send is clipped as every report is: a longer one would
show in the sum, and main would not use it.
"""
