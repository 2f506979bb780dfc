"""As a project of Django has them; its instrumentation adds a middleware to them."""

ROOT_URLCONF = "tests.servers.apps.with_django"
ALLOWED_HOSTS = ["*"]
SECRET_KEY = "of a test"
MIDDLEWARE: list[str] = []
