"""Sends huggingface_hub's check of cards to HF_ENDPOINT instead of huggingface.co.

Importing this module is enough. huggingface_hub is not imported before the program does so itself.
"""

import importlib.abc
import importlib.machinery
import sys

TARGET = "huggingface_hub.repocard"
FIXED = "https://huggingface.co/api/validate-yaml"


def redirect(module):
    """Makes `module`, which is huggingface_hub.repocard, post to the endpoint in place of the fixed address."""
    import inspect

    from huggingface_hub import constants

    if FIXED not in inspect.getsource(module.RepoCard.validate):
        return
    get_session = module.get_session

    class Session:
        """The session of the caller, but for one address."""

        def __init__(self, session):
            self._session = session

        def __getattr__(self, name):
            return getattr(self._session, name)

        def post(self, url, **options):
            if url == FIXED:
                url = f"{constants.ENDPOINT}/api/validate-yaml"
            return self._session.post(url, **options)

    module.get_session = lambda: Session(get_session())


class Loader(importlib.abc.Loader):
    """Loads the module as usual and then redirects it."""

    def __init__(self, loader):
        self._loader = loader

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        self._loader.exec_module(module)
        redirect(module)


class Finder(importlib.abc.MetaPathFinder):
    """Finds one module, where everybody else would find it."""

    def find_spec(self, name, path, target=None):
        if name != TARGET:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            spec.loader = Loader(spec.loader)
        return spec


if TARGET in sys.modules:
    redirect(sys.modules[TARGET])
else:
    sys.meta_path.insert(0, Finder())
