"""The world that devices live in: who is there when, how fast, and what goes wrong; on a simulated clock."""
