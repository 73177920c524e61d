"""Makes better training data from existing data."""
