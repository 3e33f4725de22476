"""``python -m mender_client``: the same as the program ``mender-python-client``."""

import sys

from mender_client.app.entry import main

if __name__ == "__main__":
    sys.exit(main())
