"""``python -m scripts`` is ``hello``."""

from scripts.command import main

if __name__ == "__main__":
    main()
