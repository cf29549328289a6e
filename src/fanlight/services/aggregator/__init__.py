"""The secure aggregator: collects masked reports, closes the set, releases one sum, and forgets the rest."""
