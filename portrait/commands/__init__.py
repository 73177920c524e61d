"""The verbs of main.py, apply.py and prepare_data.py as functions with plain arguments."""
