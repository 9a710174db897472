"""Experiments as files: one for each row of a published table, and light ones that run on a CPU."""
