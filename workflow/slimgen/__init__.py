"""slimgen: generative models made small and fast in published ways, on equal data and measures."""
