"""`python -I -m mlos_sync` is the command line."""

from mlos_sync.cli.main import main

if __name__ == "__main__":
    main()
