"""What stands behind the gateway; out of service, and back."""

from contracts.pool_answers import PoolDrain, PoolHealth, PoolList
from gateway.openapi.errors import AUTHENTICATED
from gateway.openapi.media import json_content
from gateway.openapi.operations import operation_object
from gateway.openapi.parameters import path_parameter, query_parameter
from gateway.openapi.references import Object
from gateway.openapi.responses import response_object


def pool_paths() -> Object:
    pool = path_parameter("id", "A pool's id.")
    wait = query_parameter(
        "wait",
        "How long the answer may wait until nothing runs any more: `30s`, at most `5m`.",
        "string",
        pattern="^(0|[0-9]{1,5}ms|([0-9]{1,2}|[12][0-9]{2}|300)s|[1-5]m)$",
    )
    one = (*AUTHENTICATED, 404)
    return {
        "/v1/pools": {
            "get": operation_object(
                "listPools",
                "What stands behind the gateway, and how it is",
                {200: response_object("All pools.", json_content(PoolList))},
                AUTHENTICATED,
            )
        },
        "/v1/pools/{id}/health": {
            "parameters": [pool],
            "get": operation_object(
                "poolHealth",
                "How one pool is",
                {
                    200: response_object(
                        "Its state, and that of each endpoint.", json_content(PoolHealth)
                    )
                },
                one,
            ),
        },
        "/v1/pools/{id}/drain": {
            "parameters": [pool, wait],
            "post": operation_object(
                "drainPool",
                "Take a pool out of service; what runs goes on",
                {
                    200: response_object(
                        "It gets nothing new; what is left.", json_content(PoolDrain)
                    )
                },
                one,
            ),
        },
        "/v1/pools/{id}/reload": {
            "parameters": [pool],
            "post": operation_object(
                "reloadPool",
                "Take a pool into service as if it were new, and test it",
                {200: response_object("It was probed and tested.", json_content(PoolHealth))},
                one,
            ),
        },
    }
