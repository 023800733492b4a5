"""Measures claims: trains the trials that they need, measures each seed, keeps it, and reads what is kept."""
