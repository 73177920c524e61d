"""Scores of networks on photographs, and analysis of their errors."""
