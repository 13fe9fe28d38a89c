"""`python -m adaspring` is the command `adaspring`."""

from .cli import main

if __name__ == "__main__":
    main()
