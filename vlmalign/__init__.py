"""Make vision-language models say true things about images, without paid human feedback."""

__version__ = "0.1.0"
