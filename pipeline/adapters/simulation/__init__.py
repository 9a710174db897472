"""A seeded site of walking people: who they are, where they walk, how cameras see them, and the truth about it all."""
