"""The fleet that ``mender-fleet`` runs: mostly healthy devices, and some with each kind of problem."""

from mender_fleet.users import (
    FailingDevice,
    HastyDevice,
    HealthyDevice,
    SlowDevice,
    UnacceptedDevice,
    VanishingDevice,
)

__all__ = ["FailingDevice", "HastyDevice", "HealthyDevice", "SlowDevice", "UnacceptedDevice", "VanishingDevice"]
