"""How a number came about, as a document and in words."""
