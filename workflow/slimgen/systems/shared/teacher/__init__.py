"""Teacher stages."""
