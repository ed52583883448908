"""The models that can be named."""

from contracts.openai_api import ModelEntry, ModelList
from gateway.openapi.errors import AUTHENTICATED
from gateway.openapi.media import json_content
from gateway.openapi.operations import operation_object
from gateway.openapi.parameters import path_parameter
from gateway.openapi.references import Object
from gateway.openapi.responses import response_object


def model_paths() -> Object:
    return {
        "/v1/models": {
            "get": operation_object(
                "listModels",
                "The models that can be named",
                {200: response_object("The models.", json_content(ModelList))},
                AUTHENTICATED,
                tag="inference",
            )
        },
        "/v1/models/{id}": {
            "parameters": [path_parameter("id", "A model's name; it may contain slashes.")],
            "get": operation_object(
                "retrieveModel",
                "One model",
                {200: response_object("The model.", json_content(ModelEntry))},
                (*AUTHENTICATED, 404),
                tag="inference",
            ),
        },
    }
