"""Episodes, files of them, and the protocols that draw them."""
