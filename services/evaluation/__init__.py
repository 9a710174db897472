"""Scores on the user's own data: each part returns plain numbers, the command line prints them."""
