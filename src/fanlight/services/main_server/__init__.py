"""The main server: proposes rounds, judges closes, turns sums into better models and hands them out."""
