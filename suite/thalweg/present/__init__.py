"""What commands, app and report show: numbers, sentences, tables and charts, without a way to print or serve them."""
