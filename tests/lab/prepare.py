"""Builds the image of the virtual rigs ahead of the stories, which wait for its lock and use it."""

from __future__ import annotations

from rigspec.lab.image import base_image
from rigspec.lab.rootfs import Installation

if __name__ == "__main__":
    base_image(Installation())
