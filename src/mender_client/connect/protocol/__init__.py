"""What device connect says and when: state machines that reach the device through ``ports``."""
