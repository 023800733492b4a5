"""Natural gradient methods, with an exact, a sampled or a factored Fisher matrix."""
