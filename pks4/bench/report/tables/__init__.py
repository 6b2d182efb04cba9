"""One table a function, and the table type that prints them all."""
