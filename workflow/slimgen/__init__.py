"""slimgen: generative models made small and fast in five ways, on equal data and measures."""
