"""`python -m billing …` is the same as `billing …`."""

from billing.commands import main

if __name__ == "__main__":
    main()
