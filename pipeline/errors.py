"""The errors of the house. The class tells the caller what to do: retry, set aside, or stop.

Every message says what was found, what was expected and what to do, and never holds a secret.
"""


class SightlineError(Exception):
    """Anything that Sightline raises on purpose."""


class Unavailable(SightlineError):
    """Something outside does not answer at present; the same call may succeed later. Retry."""


class BusFull(Unavailable):
    """The bus has reached its byte budget. Slow down: drop frames, keep the message and try again."""


class StreamLost(Unavailable):
    """A camera's stream broke, stalled or could not be opened. Reconnect after a pause."""


class StreamEnded(SightlineError):
    """A finite source (a file) has given its last frame."""


class InvalidMessage(SightlineError):
    """This one message, image or row can never be processed. Set it aside and go on with the next."""


class ConfigurationError(SightlineError):
    """What the operator asked for cannot work. Stop before anything starts (exit code 2)."""


class ModelVersionMismatch(ConfigurationError):
    """Vectors or weights of one model met those of another; they are never compared."""


class InvalidQuery(ConfigurationError):
    """A question that cannot be answered as it was put: empty, an unreadable time, an unknown camera or person."""

    def __init__(self, found: str, expected: str, to_do: str) -> None:
        super().__init__(f"{found}; expected {expected}; {to_do}")
        self.found = found
        self.expected = expected
        self.to_do = to_do
