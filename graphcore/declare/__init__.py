"""What a node is: its declaration, its ports, and the registry that holds it."""
