"""Read-only questions of CLI and admin page."""


class Views:
    def __init__(self, store):
        self.store = store
