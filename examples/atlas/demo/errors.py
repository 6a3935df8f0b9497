"""What can go wrong in the demonstration itself."""


class DemonstrationError(Exception):
    """The application does not start, or answers otherwise than the walk expects."""
