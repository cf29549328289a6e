"""``make screenshots``: every page of the three roles, photographed in a real browser over real processes."""
