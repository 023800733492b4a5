"""Numbers, sentences, tables and charts that commands, app and report show; this package neither prints nor serves."""
