"""Search without torch: spaces, enumeration, evolution, budgets."""
