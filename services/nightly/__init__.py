"""The night: a site's own tracklets become a candidate, and gates decide whether it may serve."""
