"""The store's command line: `python -m dumbkv`."""

import sys

from dumbkv.cli.program import main

if __name__ == "__main__":
    sys.exit(main())
