"""A merchant at a terminal, as the command line tests know her."""

from tests.e2e.conftest import clean_env, shell, shop, shop_home

__all__ = ["clean_env", "shell", "shop", "shop_home"]
