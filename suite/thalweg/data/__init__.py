"""Data sets as files: fetched with a checksum, found where they are already, decoded, augmented."""
