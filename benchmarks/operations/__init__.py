"""The operations that are measured: what is done, by whom, and what all must agree on."""
