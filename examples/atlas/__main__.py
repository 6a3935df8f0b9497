"""`python -m examples.atlas` runs the demonstration."""

import sys

from examples.atlas.demo.command import main

if __name__ == "__main__":
    sys.exit(main())
