"""`python -m skatestock`: the same as the command, for children that must use this very Python."""

from skatestock.cli import main

if __name__ == "__main__":
    main()
