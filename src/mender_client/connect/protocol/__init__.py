"""The protocols of device connect: state machines that access the device through ``ports``."""
