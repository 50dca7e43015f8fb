"""slimgen: generative models made small and fast in five ways, on the same data, with the same evaluation."""
