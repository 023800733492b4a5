"""Natural gradient: methods that step by a Fisher matrix, exact, sampled or factored."""
