"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# No test asserts a time: the machine may be busy with something else.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")
