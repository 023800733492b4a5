"""Expands a benchmark, skips what is done, hands the rest to an executor and saves what comes back."""
