"""`python -m sdwebui` runs the command line."""

import sys

from sdwebui.cli import main

if __name__ == "__main__":
    sys.exit(main())
