"""The tests of the examples that are one file."""
