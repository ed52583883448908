"""The OpenAPI 3.1 description of the HTTP surface, generated from the Structs; a file an area.

`python -m gateway.openapi` writes it into `contracts/`, and a gateway answers with what is written there: to
describe takes 0.1 s. A test fails when that file is out of date, and another when its paths are not the routes of
the application. The same Structs and the same version give the same bytes.
"""

from gateway.openapi.publication import FILE, publish, published

__all__ = ["FILE", "publish", "published"]
