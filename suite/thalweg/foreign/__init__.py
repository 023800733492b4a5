"""Files of other programs as data: tables, JSON, YAML, lines and SQLite, with limits of size. Nothing is executed."""
