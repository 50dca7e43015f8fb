"""From records to tables, figures and claims; imports no torch."""
