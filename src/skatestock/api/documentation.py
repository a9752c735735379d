"""The documentation: the OpenAPI document and Swagger UI, served from this process alone.

Every byte of the page comes from the `swagger-ui-py` wheel or from here; its content policy lets a browser
ask nobody else.
"""

from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import msgspec
from litestar import MediaType, Response
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from skatestock.api.errors import NotFoundError
from skatestock.api.operations import reads

_ASSETS = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
_START = b"""window.addEventListener("load", () => {
  window.ui = SwaggerUIBundle({
    url: "/api-docs/openapi.json",
    dom_id: "#swagger-ui",
    presets: [SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
    deepLinking: true,
    validatorUrl: null,
    defaultModelsExpandDepth: 0,
    tryItOutEnabled: true,
  });
});
"""
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" type="image/png" href="/api-docs/assets/favicon-32x32.png">
<link rel="stylesheet" href="/api-docs/assets/swagger-ui.css">
<script src="/api-docs/assets/swagger-ui-bundle.js" defer></script>
<script src="/api-docs/assets/start.js" defer></script>
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript; <a href="/api-docs/openapi.json">the document</a> does not.</noscript>
</body>
</html>
"""
# Swagger UI sets styles on elements and draws its icons as data: both stay within the page.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def build_documentation(document: dict[str, Any]) -> list[HTTPRouteHandler]:
    """Make the routes under `/api-docs` that show the document; everything is encoded once, here."""
    encoded = msgspec.json.encode(document)
    page = _PAGE.format(title=document["info"]["title"]).encode()
    assets = _read_assets()

    @reads("/api-docs")
    async def show_documentation() -> Response[bytes]:
        """Answer with the page."""
        return Response(page, media_type=MediaType.HTML, headers={"Content-Security-Policy": _PAGE_POLICY})

    @reads("/api-docs/openapi.json")
    async def get_openapi() -> Response[bytes]:
        """Answer with the document."""
        return Response(encoded, media_type=MediaType.JSON)

    @reads("/api-docs/assets/{name:str}")
    async def get_asset(name: FromPath[str]) -> Response[bytes]:
        """Answer with one of the page's files."""
        if name not in assets:
            raise NotFoundError(f"there is no asset {name[:40]!a}")
        body, media_type = assets[name]
        return Response(body, media_type=media_type, headers={"Cache-Control": "public, max-age=3600"})

    return [show_documentation, get_openapi, get_asset]


def _read_assets() -> dict[str, tuple[bytes, str]]:
    # found by the wheel's own record: importing it would load adapters for frameworks that we have not
    folder = Path(str(distribution("swagger-ui-py").locate_file("swagger_ui/static")))
    assets = {name: ((folder / name).read_bytes(), media_type) for name, media_type in _ASSETS.items()}
    return assets | {"start.js": (_START, "text/javascript; charset=utf-8")}
