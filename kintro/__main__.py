import sys

from kintro.cli import main

sys.exit(main())
