"""Work that is handed in, watched and fetched."""

from contracts.tasks import TaskAccepted, TaskCancelled, TaskList, TaskView
from gateway.openapi.errors import AUTHENTICATED, INFERENCE
from gateway.openapi.headers import TOLD
from gateway.openapi.media import event_schema, event_stream, json_content
from gateway.openapi.operations import operation_object
from gateway.openapi.parameters import header_parameter, path_parameter, query_parameter
from gateway.openapi.references import Object, reference_to
from gateway.openapi.responses import response_object
from gateway.openapi.task_bodies import TASK_BODIES
from gateway.openapi.task_events import TASK_EVENTS

_EVENT_ID = "^[0-9]{0,15}$"
"""An empty one is none, as browsers have it."""


def task_paths() -> Object:
    task = path_parameter(
        "id", "A task's id; of a request that is being answered, its `x-request-id`."
    )
    key = header_parameter("Idempotency-Key", "A submission with the same key is the same task.")
    key["schema"] |= {"pattern": "^[!-~]{1,255}$"}
    after = header_parameter(
        "Last-Event-ID", "The last event that was read; those after it follow."
    )
    after["schema"] |= {"pattern": _EVENT_ID}
    taken = response_object(
        "It waits or runs.", json_content(TaskAccepted), headers=("x-request-id", "Location", *TOLD)
    )
    taken["links"] = {
        operation: {"operationId": operation, "parameters": {"id": "$response.body#/task_id"}}
        for operation in ("retrieveTask", "streamTask", "cancelTask")
    }
    submit = operation_object(
        "createTask",
        "Hand in work",
        {202: taken},
        (*(status for status in INFERENCE if status != 499), 422),
        tag="tasks",
    )
    submit["requestBody"] = {
        "required": True,
        "content": {
            "application/json": {"schema": {"anyOf": [reference_to(n) for n in TASK_BODIES]}}
        },
    }
    stream = response_object(
        "Server-sent events `started`, `token`, `metrics`, `gap`, and at last `end` or `error`, each "
        "with an `id`. Comments (`: ping`) keep the connection open.",
        event_stream(*(event_schema(kind, named=name) for name, kind in TASK_EVENTS.items())),
    )
    one = (*AUTHENTICATED, 404)
    return {
        "/v1/tasks": {
            "post": {"parameters": [key], **submit},
            "get": {
                "parameters": [
                    query_parameter(
                        "limit", "The newest so many; 100 by default.", minimum=1, maximum=1000
                    ),
                    query_parameter("state", "`all`: what has ended too.", "string", enum=["all"]),
                ],
                **operation_object(
                    "listTasks",
                    "What waits and runs now, chats and embeddings included",
                    {200: response_object("Oldest first.", json_content(TaskList))},
                    AUTHENTICATED,
                    tag="tasks",
                ),
            },
        },
        "/v1/tasks/{id}": {
            "parameters": [task],
            "get": operation_object(
                "retrieveTask",
                "One task, with its result as far as it has come",
                {200: response_object("As it is now.", json_content(TaskView))},
                one,
                tag="tasks",
            ),
        },
        "/v1/tasks/{id}/stream": {
            "parameters": [
                task,
                after,
                query_parameter(
                    "last_event_id",
                    "The same, where no header can be set.",
                    "string",
                    pattern=_EVENT_ID,
                ),
                query_parameter("metrics", "1: `metrics` once a second.", enum=[0, 1]),
            ],
            "get": operation_object(
                "streamTask",
                "The events of a task",
                {200: stream, 204: {"description": "The last event has been read already."}},
                (*one, 429),
                tag="tasks",
            ),
        },
        "/v1/tasks/{id}/cancel": {
            "parameters": [task],
            "post": operation_object(
                "cancelTask",
                "End a task, or a request that is being answered; nothing more of it goes out",
                {
                    200: response_object(
                        "The state that it is in for ever.", json_content(TaskCancelled)
                    )
                },
                one,
                tag="tasks",
            ),
        },
    }
