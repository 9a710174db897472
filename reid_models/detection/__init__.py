"""`person-nano`: a small person detector, trained from scratch by our own code."""
