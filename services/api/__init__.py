"""The HTTP API and the page: `create_app` builds them from plain objects, `main.run` from settings."""
