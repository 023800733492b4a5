"""Which settings are tried for each optimizer, and which of them are taken."""
