"""Runs plans: skips trials that are done, hands the others to an executor, and saves the results."""
