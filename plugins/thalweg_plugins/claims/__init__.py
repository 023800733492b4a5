"""The lecture's statements as claims, decided by the rules of ``rules.toml``."""
