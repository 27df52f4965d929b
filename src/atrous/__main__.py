"""`python -m atrous`, for where the script is not on the path or a launcher starts it."""

from atrous.cli import main

if __name__ == "__main__":
    main()
