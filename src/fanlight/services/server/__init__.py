"""What both servers do alike: members, the hash-chained log, round keys, and the routes for them."""
