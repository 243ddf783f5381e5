"""What a node is: its declaration, its ports, the registry that holds it, and the schema of all."""
