"""Events out to brokers and in from them; a leaf: each broker's module asks for its own extra."""
