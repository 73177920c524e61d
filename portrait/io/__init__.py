"""Reads and writes files, pictures, mattes and videos."""
