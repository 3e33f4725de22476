"""A Mender client: makes a device known, fetches updates whole and proven, hands them over, reports."""

__version__ = "1.0.0"
