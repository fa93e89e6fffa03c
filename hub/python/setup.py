"""Puts the .pth file, which loads the shim at every start of Python, beside the module."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithPth(build_py):
    """Builds the module and the line that imports it."""

    def run(self):
        super().run()
        target = Path(self.build_lib, "sinew_hub_shim.pth")
        target.write_text("import sinew_hub_shim\n")

    def get_outputs(self, include_bytecode=1):
        return [*super().get_outputs(include_bytecode), str(Path(self.build_lib, "sinew_hub_shim.pth"))]


setup(cmdclass={"build_py": WithPth})
