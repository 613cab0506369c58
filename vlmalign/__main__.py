"""`python -m vlmalign` is `vlmalign`."""

from vlmalign.cli.main import main

if __name__ == "__main__":
    main()
