pytest_plugins = ["tests.synthetic"]
